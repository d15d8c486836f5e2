package serve

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestCompressedAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	s.SetModel(toy())
	h := s.Handler()
	long := `{"instances":["` + strings.Repeat("weir", 20_000) + `"],"signature_name":"bytes"}`
	short := `{"instances":["` + strings.Repeat("weir", 10_000) + `"],"signature_name":"bytes"}`
	for _, tt := range []struct {
		accept, body, want string
	}{
		{"gzip", long, "gzip"}, {"deflate", long, "deflate"}, {"br, deflate;q=0.5, gzip;q=0.1", long, "deflate"}, {"GZIP;q=0, identity", long, ""},
		{"", long, ""}, {"gzip;q=x", long, ""}, {"gzip", short, ""}, {"gzip", `{"instances":`, ""},
	} {
		c := call{path: "/v1/models/toy:predict", body: tt.body}
		want := c.do(t, h)
		c.header = map[string]string{"Accept-Encoding": tt.accept}
		got := c.do(t, h)
		if e := got.Header().Get("Content-Encoding"); e != tt.want || got.Code != want.Code {
			t.Errorf("%q: status %d, encoding %q, want %q", tt.accept, got.Code, e, tt.want)
			continue
		}
		var r io.Reader = got.Body
		var err error
		switch tt.want {
		case "gzip":
			r, err = gzip.NewReader(r)
		case "deflate":
			r, err = zlib.NewReader(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil || string(body) != want.Body.String() {
			t.Errorf("%q: %v, %d bytes, want %d", tt.accept, err, len(body), want.Body.Len())
		}
		if tt.want != "" && (got.Header().Get("Content-Length") != "" || got.Header().Get("Vary") != "Accept-Encoding" || got.Code != http.StatusOK) {
			t.Errorf("%q: %v", tt.accept, got.Header())
		}
	}
}

// TestBinaryTensorsAreNotCompressed, however large and whoever asks.
func TestBinaryTensorsAreNotCompressed(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{Limits: Limits{Instances: 100_000}})
	s.SetModel(toy())
	h := s.Handler()
	body := `{"parameters":{"binary_data_output":true},"inputs":[{"name":"uint8","shape":[100000],"datatype":"UINT8","data":[` + strings.Repeat("7,", 99_999) + `7]}]}`
	got := call{path: "/v2/models/toy/infer", body: body, header: map[string]string{"Accept-Encoding": "gzip"}}.do(t, h)
	if got.Code != http.StatusOK || got.Header().Get("Content-Encoding") != "" || got.Body.Len() < 100_000 {
		t.Errorf("status %d, encoding %q, %d bytes: %.200s", got.Code, got.Header().Get("Content-Encoding"), got.Body.Len(), got.Body)
	}
}

// BenchmarkCompress is what compressFrom stands on.
func BenchmarkCompress(b *testing.B) {
	body := imageJSON(7, ",")[:compressFrom]
	z, _ := packers["gzip"].Get().(packer)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		z.Reset(&out)
		if _, err := z.Write(body); err != nil {
			b.Fatal(err)
		}
		if err := z.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out.Len())/float64(len(body)), "left")
}
