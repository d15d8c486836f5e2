package loadtest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	tf "github.com/galeone/tensorflow/tensorflow/go"
)

// pixels is an image as a client sends it: 224 x 224 x 3 floats between -1 and 1, as JSON and as bytes.
func pixels() (asJSON, asBytes []byte) {
	var image [1][224][224][3]float32
	for y := range image[0] {
		for x := range image[0][y] {
			for c := range image[0][y][x] {
				f := float32((y*224+x)*3+c) / (224 * 224 * 3) * 2
				image[0][y][x][c] = f - 1
				asBytes = binary.LittleEndian.AppendUint32(asBytes, math.Float32bits(f-1))
			}
		}
	}
	asJSON, _ = json.Marshal(map[string]any{"instances": image})
	return asJSON, asBytes
}

// BenchmarkInputs is one replica of imagenet, 8 callers, against the bare session: a JPEG, 224 x 224 x 3 floats as JSON,
// and as a binary tensor of the Open Inference Protocol. The bare session gets its tensors for nothing.
func BenchmarkInputs(b *testing.B) {
	photo := readPhoto(b)
	asJSON, asBytes := pixels()
	// The answer is binary, too, as Triton's clients ask for it unless they are told otherwise.
	head := fmt.Appendf(nil, `{"inputs":[{"name":"images","shape":[1,224,224,3],"datatype":"FP32","parameters":{"binary_data_size":%d}}],`+
		`"parameters":{"binary_data_output":true}}`, len(asBytes))
	binaryBody := append(slices.Clone(head), asBytes...)
	url := startFunction(b, "imagenet", "imagenet/1")
	images := openBare(b, "imagenet/1", "image_bytes", "image_bytes", "probabilities")
	floats := openBare(b, "imagenet/1", "serving_default", "images", "probabilities")
	tensor, err := tf.ReadTensor(tf.Float, []int64{1, 224, 224, 3}, bytes.NewReader(asBytes))
	if err != nil {
		b.Fatal(err)
	}
	bareFloats := func() error {
		_, err := floats.model.Session.Run(map[tf.Output]*tf.Tensor{floats.in: tensor}, []tf.Output{floats.out}, nil)
		return err
	}
	predict := url + "/v1/models/imagenet:predict"
	b.Run("jpeg", func(b *testing.B) {
		compare(b, "images", 8, lines(b, predict, http.Header{"Content-Type": {"image/jpeg"}}, photo), func() error { return images.run([]string{string(photo)}) })
	})
	b.Run("json", func(b *testing.B) {
		compare(b, "images", 8, lines(b, predict, http.Header{"Content-Type": {"application/json"}}, asJSON), bareFloats)
	})
	b.Run("binary", func(b *testing.B) {
		header := http.Header{"Content-Type": {"application/octet-stream"}, "Inference-Header-Content-Length": {strconv.Itoa(len(head))}}
		compare(b, "images", 8, lines(b, url+"/v2/models/imagenet/infer", header, binaryBody), bareFloats)
	})
}

// BenchmarkBatches is one replica of digits, JSON in and out, with batches and without, the clients on the same cores.
func BenchmarkBatches(b *testing.B) {
	together, alone := startFunction(b, "digits", "digits/1"), startFunction(b, "digits", "digits/1", "--batch", "off")
	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			compare(b, "predictions", callers, post(together+"/v1/models/digits:predict", "application/json", digitsJSON),
				post(alone+"/v1/models/digits:predict", "application/json", digitsJSON))
		})
	}
}

// BenchmarkMemory asks replicas of digits and imagenet many times: what 100,000 requests add to a replica, and what a
// second one of imagenet has for itself.
func BenchmarkMemory(b *testing.B) {
	photo := readPhoto(b)
	for b.Loop() {
		digits := startFunction(b, "digits", "digits/1")
		ask := post(digits+"/v1/models/digits:predict", "application/json", digitsJSON)
		repeat(b, 20_000, ask)
		before := resident(b, digits)
		repeat(b, 100_000, ask)
		b.ReportMetric(resident(b, digits)-before, "MiB-more-after-100000")
		for range 2 {
			one, pid := startProcess(b, "imagenet", "imagenet/1")
			repeat(b, 200, post(one+"/v1/models/imagenet:predict", "image/jpeg", photo))
			b.ReportMetric(private(b, pid), "MiB-unshared")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// repeat calls f n times from 8 callers.
func repeat(b *testing.B, n int, f func() error) {
	b.Helper()
	done := make(chan error, 8)
	for range cap(done) {
		go func() {
			var err error
			for i := 0; err == nil && i < n/cap(done); i++ {
				err = f()
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// resident is a function's resident memory in MiB, as it says itself.
func resident(b *testing.B, url string) float64 {
	b.Helper()
	return metric(b, url, "process_resident_memory_bytes") / (1 << 20)
}

// private is the memory in MiB that a process shares with nobody.
func private(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	kib := 0.0
	for _, m := range regexp.MustCompile(`Private_(?:Clean|Dirty): +(\d+) kB`).FindAllSubmatch(data, -1) {
		n, _ := strconv.ParseFloat(string(m[1]), 64)
		kib += n
	}
	return kib / 1024
}

func metric(b *testing.B, url, name string) float64 {
	b.Helper()
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Get(url + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text.Bytes())
	if m == nil {
		b.Fatalf("%s has no metric %s", url, name)
	}
	v, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return v
}
