package serve

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"weir.dev/weir/functions/model"
)

// imageJSON is an image of 224x224x3 floats in row format, each with the given digits, as Python writes it; with -1 digits
// each with as many as a float32 needs.
func imageJSON(digits int, comma string) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	bits := 64
	if digits < 0 {
		bits = 32
	}
	b.WriteString(`{"instances":[[`)
	for y := range 224 {
		b.WriteString(sep(y, comma) + "[")
		for x := range 224 {
			b.WriteString(sep(x, comma) + "[")
			for c := range 3 {
				b.WriteString(sep(c, comma) + strconv.FormatFloat(r.Float64()*2-1, 'f', digits, bits))
			}
			b.WriteString("]")
		}
		b.WriteString("]")
	}
	b.WriteString(`]]}`)
	return []byte(b.String())
}

func sep(i int, comma string) string {
	if i == 0 {
		return ""
	}
	return comma
}

// BenchmarkDecodeJSON decodes an image as the clients of TensorFlow Serving send it.
func BenchmarkDecodeJSON(b *testing.B) {
	s := newServer(b, Options{})
	sig := model.Signature{Name: "serving_default", Inputs: specs{spec("x", model.Float32, -1, 224, 224, 3)}}
	for _, digits := range []int{-1, 1, 7, 17} {
		b.Run(fmt.Sprintf("digits=%d", digits), func(b *testing.B) {
			body := imageJSON(digits, ", ")
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				e, err := s.readEnvelope(body, false)
				if err != nil {
					b.Fatal(err)
				}
				in, err := s.readInputs(e, sig)
				if err != nil || in["x"].Len() != 224*224*3 {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEncodeJSON encodes the 1,000 scores of an image.
func BenchmarkEncodeJSON(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, 1000)
	for i := range v {
		v[i] = r.Float32()
	}
	out := model.Response{Outputs: map[string]model.Tensor{"scores": floats([]int64{1, 1000}, v...)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := writePredictions(out, true, false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPredict is a whole request through the handler.
func BenchmarkPredict(b *testing.B) {
	h := toyServer(b).Handler()
	b.ReportAllocs()
	for b.Loop() {
		if w := (call{path: "/v1/models/toy:predict", body: goodBody}).do(b, h); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
