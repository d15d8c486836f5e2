package tensorflow

import (
	"slices"
	"testing"

	"weir.dev/weir/functions/model"
)

// fixture loads a SavedModel that `make models` built for tests, warmed up as when it is served.
func fixture(t *testing.T, dir string) model.Model {
	t.Helper()
	m, err := Load(t.Context(), "../../build/"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// elements makes n different elements of a type: no two bytes of a tensor's data are at the same place by chance.
func elements(d model.DType, n int64) model.Tensor {
	t := model.Tensor{DType: d, Shape: []int64{n}}
	if d == model.Bytes {
		t.Strings = make([][]byte, n)
		for i := range t.Strings {
			t.Strings[i] = slices.Repeat([]byte{byte(i), 0xff}, 20*i)
		}
		return t
	}
	t.Data = make([]byte, n*int64(d.Size()))
	for i := range t.Data {
		t.Data[i] = byte(i+1) % 0x3c // no NaN, whose bits need not stay
		if d == model.Bool {
			t.Data[i] %= 2
		}
	}
	return t
}

func TestEveryTypeGoesThroughTensorFlow(t *testing.T) {
	m := fixture(t, "fixtures/dtypes/1")
	sig := m.Metadata().Signatures[model.DefaultSignature]
	if len(sig.Inputs) != len(dtypes) {
		t.Fatalf("the fixture has %d types, weir serves %d", len(sig.Inputs), len(dtypes))
	}
	for _, n := range []int64{1, 3, 0} {
		req := model.Request{Inputs: map[string]model.Tensor{}}
		for _, in := range sig.Inputs {
			req.Inputs[in.Name] = elements(in.DType, n)
		}
		resp, err := m.Predict(t.Context(), req)
		if err != nil {
			t.Fatalf("%d elements: %v", n, err)
		}
		for name, want := range req.Inputs {
			if got := resp.Outputs[name]; !got.Equal(want) {
				t.Errorf("%d elements of %s: got %v, want %v", n, name, got, want)
			}
		}
	}
}

func TestStringsOfAnyShape(t *testing.T) {
	m := fixture(t, "fixtures/dtypes/1")
	for _, shape := range [][]int64{{2, 3}, {1, 1}, {3, 0}, {0, 3}} {
		text := model.Tensor{DType: model.Bytes, Shape: shape, Strings: [][]byte{}}
		upper := model.Tensor{DType: model.Bytes, Shape: shape, Strings: [][]byte{}}
		for i := range text.Len() {
			text.Strings = append(text.Strings, []byte{'a' + byte(i), '-'})
			upper.Strings = append(upper.Strings, []byte{'A' + byte(i), '-'})
		}
		resp, err := m.Predict(t.Context(), model.Request{Signature: "text", Inputs: map[string]model.Tensor{"text": text}})
		if err != nil {
			t.Errorf("%v: %v", shape, err)
			continue
		}
		if got := resp.Outputs["upper"]; !got.Equal(upper) {
			t.Errorf("%v: got %v, want %v", shape, got, upper)
		}
		if got := resp.Outputs["length"]; !slices.Equal(got.Shape, shape) {
			t.Errorf("length of %v has shape %v", shape, got.Shape)
		}
	}
}

func TestScalars(t *testing.T) {
	m := fixture(t, "fixtures/dtypes/1")
	one := model.Tensor{DType: model.Float32, Shape: []int64{}, Data: []byte{0, 0, 0x80, 0x3f}}
	for signature := range map[string]bool{"scalar": true, "any_rank": true} { // 1+1 and 1*2
		resp, err := m.Predict(t.Context(), model.Request{Signature: signature, Inputs: map[string]model.Tensor{"x": one}})
		if err != nil {
			t.Errorf("%s: %v", signature, err)
			continue
		}
		if got := resp.Outputs["y"]; len(got.Shape) != 0 || !slices.Equal(got.Data, []byte{0, 0, 0, 0x40}) {
			t.Errorf("%s: got %v, want the scalar 2", signature, got)
		}
	}
}
