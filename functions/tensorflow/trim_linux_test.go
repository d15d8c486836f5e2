package tensorflow

import (
	"testing"

	"weir.dev/weir/functions/model"
)

// A replica keeps of TensorFlow's libraries what predictions need, a small part of what loading has read.
func TestTrim(t *testing.T) {
	m, err := Load(t.Context(), "../../build/models/digits/1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	predict := func() {
		t.Helper()
		inputs, _ := SampleRow(m.Metadata().Signatures["serving_default"], 0)
		if _, err := m.Predict(t.Context(), model.Request{Inputs: inputs}); err != nil {
			t.Fatal(err)
		}
	}
	predict()
	before := status(t, "RssFile")
	Trim()
	predict()
	if after := status(t, "RssFile"); after > before/2 {
		t.Errorf("%d kB of files are mapped after Trim and a prediction, %d before: want at most half", after, before)
	}
}
