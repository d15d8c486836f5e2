package serve

import (
	"net/http"
	"strings"
	"testing"
)

func TestImageMalformed(t *testing.T) {
	t.Parallel()
	const path = "/v1/models/toy:predict"
	typed := func(contentType, body string) call {
		return call{path: path, header: map[string]string{"Content-Type": contentType}, body: body}
	}
	at := func(path string) call {
		return call{path: path, header: map[string]string{"Content-Type": "image/jpeg"}, body: "jpeg"}
	}
	with := func(name, value string) call {
		return call{path: path, header: map[string]string{"Content-Type": "image/jpeg", name: value}, body: "jpeg"}
	}
	method := func(m string) call { c := at(path); c.method = m; return c }
	const taken = `"image/jpeg", "image/png", "image/gif", "image/bmp"`
	testBad(t, typed("image/jpeg", "jpeg"), []bad{
		{"empty body", typed("image/jpeg", ""), 400, "expected an image"},
		{"empty PNG", typed("image/png; q=1", ""), 400, "expected an image"},
		{"the model cannot decode it", typed("image/jpeg", "broken"), 400, "expected JPEG, PNG, GIF or BMP"},
		{"the model cannot decode the GIF", typed("image/gif", "broken"), 400, "expected JPEG"},
		{"WebP", typed("image/webp", "RIFF"), 415, taken},
		{"SVG", typed("image/svg+xml", "<svg/>"), 415, taken},
		{"TIFF", typed("image/tiff", "II*"), 415, taken},
		{"AVIF", typed("image/avif", "ftyp"), 415, taken},
		{"HEIC", typed("image/heic", "ftyp"), 415, taken},
		{"icon", typed("image/x-icon", "x"), 415, taken},
		{"any image", typed("image/*", "x"), 415, taken},
		{"no subtype", typed("image/", "x"), 415, taken},
		{"upper case is the same", typed("IMAGE/WEBP", "x"), 415, taken},
		{"broken parameters", typed("image/webp; =", "x"), 415, taken},
		{"video", typed("video/mp4", "x"), 415, taken},
		{"PDF", typed("application/pdf", "x"), 415, taken},
		{"a form", typed("multipart/form-data; boundary=x", "--x--"), 415, taken},
		{"octets", typed("application/octet-stream", "x"), 415, taken},
		{"an image called JSON", typed("application/json", "\xff\xd8\xff\xe0"), 400, "expected an object"},
		{"JSON called an image is the model's to refuse", typed("image/bmp", "broken"), 400, "expected JPEG"},
		{"oversized", typed("image/jpeg", strings.Repeat("x", 1<<16+1)), 413, "limit of 65536 bytes"},
		{"encoded in brotli", with("Content-Encoding", "br"), 415, "gzip, deflate or none"},
		{"no gzip", with("Content-Encoding", "gzip"), 400, "no valid gzip"},
		{"no deflate", with("Content-Encoding", "deflate"), 400, "no valid deflate"},
		{"timeout", with("X-Weir-Timeout", "0"), 400, "more than zero"},
		{"timeout is NaN", with("X-Weir-Timeout", "NaN"), 400, "expected a duration"},
		{"unknown model", at("/v1/models/nope:predict"), 404, `this server has "toy"`},
		{"unknown version", at("/v1/models/toy/versions/1:predict"), 404, "it has 3"},
		{"version overflows", at("/v1/models/toy/versions/99999999999999999999:predict"), 400, "is no number"},
		{"unknown label", at("/v1/models/toy/labels/nope:predict"), 404, "no version label"},
		{"classify", at("/v1/models/toy:classify"), 415, "expected application/json"},
		{"regress", at("/v1/models/toy:regress"), 415, "expected application/json"},
		{"infer", at("/v2/models/toy/infer"), 415, "expected application/json"},
		{"no verb", at("/v1/models/toy"), 405, "expected GET"},
		{"no model", at("/v1/models/:predict"), 404, "expected /v1/models/toy"},
		{"wrong method", method(http.MethodGet), 405, "expected POST"},
		{"put", method(http.MethodPut), 405, "expected POST"},
	})
}

// TestNoImages answers a model without an image signature.
func TestNoImages(t *testing.T) {
	t.Parallel()
	m := toy()
	m.meta.ImageSignature = ""
	s := newServer(t, Options{})
	s.SetModel(m)
	w := call{path: "/v1/models/toy:predict", header: map[string]string{"Content-Type": "image/jpeg"}, body: "jpeg"}.do(t, s.Handler())
	if w.Code != http.StatusUnsupportedMediaType || !strings.Contains(w.Body.String(), "expected application/json") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestImageAnswer(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	const want = `{"predictions":[{"classes":[281,207],"labels":["cat","dog"],"scores":[0.75,0.25]}]}` + "\n"
	for _, contentType := range []string{"image/jpeg", "image/jpg", "image/png", "image/gif", "image/bmp", "IMAGE/PNG; a=b"} {
		for _, path := range []string{"/v1/models/toy:predict", "/v1/models/toy/versions/3:predict", "/v1/models/toy/labels/stable:predict"} {
			w := call{path: path, header: map[string]string{"Content-Type": contentType}, body: "img"}.do(t, h)
			if w.Code != http.StatusOK || w.Body.String() != want {
				t.Errorf("%s as %s: status %d: %s", path, contentType, w.Code, w.Body)
			}
		}
	}
}
