package serve

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestCompressedAnswers(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	long := `{"instances":["` + strings.Repeat("weir", 1000) + `"],"signature_name":"bytes"}`
	for _, tt := range []struct {
		accept, body, want string
	}{
		{"gzip", long, "gzip"}, {"deflate", long, "deflate"}, {"br, deflate;q=0.5, gzip;q=0.1", long, "deflate"}, {"GZIP;q=0, identity", long, ""},
		{"", long, ""}, {"gzip;q=x", long, ""}, {"gzip", `{"instances":[[1,2,3]]}`, ""}, {"gzip", `{"instances":`, ""},
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
