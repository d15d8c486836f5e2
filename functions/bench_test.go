package functions

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"weir.dev/weir/internal/server"
)

// BenchmarkServe is a whole function in this process with its clients: JSON, images and binary tensors over HTTP. A
// profile of it (-cpuprofile) shows where a request's time goes.
func BenchmarkServe(b *testing.B) {
	zeros := func(shape ...int) string {
		text := "0.5"
		for i := len(shape) - 1; i >= 0; i-- {
			text = "[" + strings.TrimSuffix(strings.Repeat(text+",", shape[i]), ",") + "]"
		}
		return text
	}
	photo, err := os.ReadFile("../build/samples/china.jpg")
	if err != nil {
		b.Fatal(err)
	}
	tensor := binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.5))
	tensor = bytes.Repeat(tensor, 224*224*3)
	head := fmt.Sprintf(`{"inputs":[{"name":"images","shape":[1,224,224,3],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}`, len(tensor))
	for _, bench := range []struct {
		name, model, path string
		header            http.Header
		body              []byte
	}{
		{"digits", "digits", "/v1/models/digits:predict", http.Header{"Content-Type": {"application/json"}}, []byte(`{"instances":` + zeros(1, 8, 8, 1) + `}`)},
		{"jpeg", "imagenet", "/v1/models/imagenet:predict", http.Header{"Content-Type": {"image/jpeg"}}, photo},
		{"json", "imagenet", "/v1/models/imagenet:predict", http.Header{"Content-Type": {"application/json"}}, []byte(`{"instances":` + zeros(1, 224, 224, 3) + `}`)},
		{"binary", "imagenet", "/v2/models/imagenet/infer", http.Header{"Inference-Header-Content-Length": {fmt.Sprint(len(head))}}, append([]byte(head), tensor...)},
	} {
		for _, callers := range []int{2, 8, 32} {
			b.Run(fmt.Sprintf("%s/callers=%d", bench.name, callers), func(b *testing.B) {
				url := serveModel(b, bench.model) + bench.path
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
				b.Cleanup(client.CloseIdleConnections)
				b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						req, _ := http.NewRequest(http.MethodPost, url, bytes.NewReader(bench.body))
						req.Header = bench.header
						resp, err := client.Do(req)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						if resp.StatusCode != http.StatusOK {
							b.Error(resp.Status)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}

// serveModel serves one of the project's models until the benchmark's end and returns its address.
func serveModel(b *testing.B, name string) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := fromEnvironment(Options{Name: name})
	s.name, s.logLevel, s.model = name, "warn", filepath.Join("../build/models", name, "1")
	f, err := s.newFunction(Options{Name: name}, zerolog.New(io.Discard))
	if err != nil {
		b.Fatal(err)
	}
	if err := f.load(b.Context()); err != nil {
		b.Fatal(err)
	}
	f.measure(b.Context())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, ln, f.server.Handler(), server.Limits{}) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := f.close(); err != nil {
			b.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}
