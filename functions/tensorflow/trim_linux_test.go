package tensorflow

import (
	"os"
	"regexp"
	"strconv"
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
	before := mappedFiles(t)
	Trim()
	predict()
	if after := mappedFiles(t); after > before/2 {
		t.Errorf("%d kB of files are mapped after Trim and a prediction, %d before: want at most half", after, before)
	}
}

// mappedFiles is how many kB of files this process has in memory.
func mappedFiles(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	kB, err := strconv.Atoi(string(regexp.MustCompile(`RssFile:\s+(\d+) kB`).FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kB
}
