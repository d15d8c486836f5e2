package test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"weir.dev/weir/internal/harness"
)

// reference is what the independent forward pass gave for one sample at build time.
type reference struct {
	Top []struct {
		Class int64   `json:"class"`
		Score float64 `json:"score"`
	} `json:"top"`
	Input  string `json:"input"`  // file of the normalised input, float32 little-endian
	Output string `json:"output"` // file of the whole output, float32 little-endian

	dir string
}

// references reads build/reference/MODEL/VERSION by sample photo.
func references(t *testing.T, model, version string) map[string]reference {
	t.Helper()
	dir := harness.Path("build/reference", model, version)
	data, err := os.ReadFile(filepath.Join(dir, "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Samples map[string]reference `json:"samples"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) < 5 {
		t.Fatalf("%s has %d samples, expected at least 5", dir, len(r.Samples))
	}
	for name, s := range r.Samples {
		s.dir = dir
		r.Samples[name] = s
	}
	return r.Samples
}

// input returns the bytes of the normalised input tensor.
func (r reference) input(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, r.Input))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// output returns the whole output vector.
func (r reference) output(t *testing.T) []float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, r.Output))
	if err != nil {
		t.Fatal(err)
	}
	return float32s(data)
}

func sample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(harness.Path("build/samples", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// float32s decodes little-endian float32 numbers.
func float32s(data []byte) []float64 {
	out := make([]float64, len(data)/4)
	for i := range out {
		out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return out
}

// within fails the test if two vectors differ by more than tolerance anywhere.
func within(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	worst, at := 0.0, 0
	for i := range got {
		if d := math.Abs(got[i] - want[i]); d > worst || math.IsNaN(d) {
			worst, at = d, i
		}
	}
	if worst > tolerance || math.IsNaN(worst) {
		t.Errorf("%s: number %d is %v, want %v: off by %g, at most %g is fine", what, at, got[at], want[at], worst, tolerance)
	}
}
