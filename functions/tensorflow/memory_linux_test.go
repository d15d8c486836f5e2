package tensorflow

import (
	"bytes"
	"image"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"

	"weir.dev/weir/functions/model"
)

// A prediction's tensors take no memory once it is answered, whenever Go's collector comes: here it never does.
func TestTensorsAreFreedWithoutTheCollector(t *testing.T) {
	// What malloc keeps, 40 to 70 MiB after broken pictures however many there are, is to be far less than all of them, of half a size each.
	const size, predictions = 1 << 20, 400
	large := model.Tensor{DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{bytes.Repeat([]byte("w"), size)}}
	table := model.Tensor{DType: model.Bytes, Shape: []int64{1, 1}, Strings: large.Strings}
	dtypes, images := fixture(t, "fixtures/dtypes/1"), fixture(t, "fixtures/images_only/1")
	all := map[string]model.Tensor{}
	converted := model.Uint32
	for _, in := range dtypes.Metadata().Signatures[model.DefaultSignature].Inputs {
		all[in.Name] = elements(in.DType, 1)
		switch in.DType {
		case model.Bytes:
			all[in.Name] = large
		case converted:
			all[in.Name] = elements(converted, size/4)
		}
	}
	picture := noise(t, size/4)
	for _, test := range []struct {
		name   string
		model  model.Model
		req    model.Request
		broken bool
	}{
		{"strings, and what is converted", dtypes, model.Request{Inputs: all, Outputs: []string{"bool"}}, false},
		{"strings of rank 2", dtypes, model.Request{Signature: "text", Inputs: map[string]model.Tensor{"text": table}, Outputs: []string{"length"}}, false},
		{"picture", images, model.Request{Signature: ImageSignature, Inputs: pictures(picture)}, false},
		{"broken picture", images, model.Request{Signature: ImageSignature, Inputs: pictures(picture[:len(picture)/2])}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			predict := func() {
				if _, err := test.model.Predict(t.Context(), test.req); (err != nil) != test.broken {
					t.Fatal(err)
				}
			}
			predict()
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			before := status(t, "RssAnon")
			for range predictions {
				predict()
			}
			if more := (status(t, "RssAnon") - before) << 10; more > predictions*size/4 {
				t.Errorf("%d predictions of about %d MiB each left %d MiB: want what malloc keeps at most", predictions, size>>20, more>>20)
			}
		})
	}
}

func pictures(encoded ...[]byte) map[string]model.Tensor {
	return map[string]model.Tensor{imageInput: {DType: model.Bytes, Shape: []int64{int64(len(encoded))}, Strings: encoded}}
}

// noise is a PNG of so many pixels that no compression makes smaller.
func noise(t *testing.T, pixels int) []byte {
	t.Helper()
	side := int(math.Sqrt(float64(pixels)))
	picture := image.NewRGBA(image.Rect(0, 0, side, side))
	_, _ = rand.NewChaCha8([32]byte{}).Read(picture.Pix)
	var b bytes.Buffer
	if err := png.Encode(&b, picture); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// status is a value in kB of the kernel's account of this process.
func status(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	kB, err := strconv.Atoi(string(regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(text)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kB
}
