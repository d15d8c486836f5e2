package tensorflow

import (
	"encoding/binary"
	"math"
	"os"
	"testing"

	"weir.dev/weir/functions/model"
)

func TestQuick(t *testing.T) {
	m, err := Load(t.Context(), "../../build/models/embed/1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	photo, err := os.ReadFile("../../build/venv/lib/python3.11/site-packages/sklearn/datasets/images/china.jpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(m.Metadata())
	r, err := m.Predict(t.Context(), model.Request{Signature: "image_bytes", Inputs: map[string]model.Tensor{"image_bytes": {DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{photo}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Outputs["embedding"].Shape, math.Float32frombits(binary.LittleEndian.Uint32(r.Outputs["embedding"].Data)))
	r, err = m.Predict(t.Context(), model.Request{Signature: "image_bytes", Inputs: map[string]model.Tensor{"image_bytes": {DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{[]byte("hi")}}}})
	t.Log(err)
	r, err = m.Predict(t.Context(), model.Request{Signature: "image_bytes", Inputs: map[string]model.Tensor{"image_bytes": {DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{photo[:3000]}}}})
	t.Log(err)
}
