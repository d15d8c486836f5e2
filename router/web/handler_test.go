package web

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	h := Handler()
	for _, test := range []struct {
		name, method, path string
		status             int
		contentType, cache string
		body               string
	}{
		{"page", "GET", "/home", 200, "text/html; charset=utf-8", cacheAsk, "<title>weir</title>"},
		{"page's head", "HEAD", "/home", 200, "text/html; charset=utf-8", cacheAsk, ""},
		{"asset without version", "GET", "/home/assets/app.js", 200, "text/javascript; charset=utf-8", cacheAsk, "import"},
		{"style", "GET", "/home/assets/base.css", 200, "text/css; charset=utf-8", cacheAsk, ":root"},
		{"icon", "GET", "/home/assets/favicon.svg", 200, "image/svg+xml", cacheAsk, "<svg"},
		{"licence of a vendored asset", "GET", "/home/assets/vendor/uplot/LICENSE", 200, "text/plain; charset=utf-8", cacheAsk, "MIT"},
		{"samples", "GET", "/home/samples/samples.json", 200, "application/json", cacheAsk, "["},
		{"slash", "GET", "/home/", 308, "", "", ""},
		{"no such asset", "GET", "/home/assets/none.js", 404, "application/json", "", `{"error":`},
		{"no such sample", "GET", "/home/samples/none.jpg", 404, "application/json", "", `{"error":`},
		{"folder", "GET", "/home/assets/vendor/", 404, "application/json", "", `{"error":`},
		{"way out", "GET", "/home/assets/../index.html", 404, "application/json", "", `{"error":`},
		{"page in a folder", "GET", "/home/index.html", 404, "application/json", "", `{"error":`},
		{"method", "POST", "/home", 405, "application/json", "", "expected GET or HEAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := get(h, test.method, test.path, nil)
			header := w.Header()
			if w.Code != test.status {
				t.Fatalf("status %d, expected %d", w.Code, test.status)
			}
			if test.contentType != "" && header.Get("Content-Type") != test.contentType {
				t.Errorf("content type %q, expected %q", header.Get("Content-Type"), test.contentType)
			}
			if header.Get("Cache-Control") != test.cache {
				t.Errorf("Cache-Control %q, expected %q", header.Get("Cache-Control"), test.cache)
			}
			if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Content-Security-Policy") != policy {
				t.Errorf("headers %v lack nosniff or the policy", header)
			}
			if !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("body %.80q, expected %q in it", w.Body.String(), test.body)
			}
			if test.status != 200 {
				return
			}
			again := get(h, test.method, test.path, http.Header{"If-None-Match": {header.Get("Etag")}})
			if again.Code != http.StatusNotModified {
				t.Errorf("with its own ETag status %d, expected 304", again.Code)
			}
		})
	}
}

var assetPath = regexp.MustCompile(`/home/assets/[^"]+`)

func TestPageAssetsNeverChange(t *testing.T) {
	t.Parallel()
	h := Handler()
	page := get(h, "GET", "/home", nil).Body.String()
	paths := assetPath.FindAllString(page, -1)
	if len(paths) < 5 {
		t.Fatalf("the page names %d assets, expected its styles and scripts", len(paths))
	}
	for _, path := range paths {
		if w := get(h, "GET", path, nil); w.Code != 200 || w.Header().Get("Cache-Control") != cacheForever {
			t.Errorf("%s: status %d, Cache-Control %q, expected 200 and %q", path, w.Code, w.Header().Get("Cache-Control"), cacheForever)
		}
	}
}

func TestVersionFollowsAssets(t *testing.T) {
	t.Parallel()
	page := func(script string) string {
		h, err := newHandler(fstest.MapFS{
			"index.html":    {Data: []byte(`<script src="/home/assets/app.js">`)},
			"openapi.html":  {},
			"assets/app.js": {Data: []byte(script)},
		}, fstest.MapFS{})
		if err != nil {
			t.Fatal(err)
		}
		if list := get(h, "GET", "/home/samples/samples.json", nil).Body.String(); list != "[]\n" {
			t.Errorf("without samples the list is %q, expected []", list)
		}
		return get(h, "GET", "/home", nil).Body.String()
	}
	first, again := page("1"), page("1")
	if first != again || first == page("2") {
		t.Error("the page must name another version if and only if an asset changed")
	}
}

// TestAssetsAreOurs checks what a reader of the sources counts on: no other site, nothing inline, small files.
func TestAssetsAreOurs(t *testing.T) {
	t.Parallel()
	inline := regexp.MustCompile(`(?i)<script(\s+(defer|type="module"))*\s*>|<style|\sstyle=|\son\w+=|javascript:`)
	other := regexp.MustCompile(`(src|href)="(https?:)?//|\burl\(|@import|from "(https?:)?//`)
	err := fs.WalkDir(pages, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "assets/vendor/") {
			return err
		}
		data, err := fs.ReadFile(pages, name)
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".html") && inline.Match(data) {
			t.Errorf("%s has something inline: %q", name, inline.Find(data))
		}
		if other.Match(data) {
			t.Errorf("%s names another site: %q", name, other.Find(data))
		}
		if n := strings.Count(string(data), "\n"); n > 250 {
			t.Errorf("%s has %d lines, expected 250 at most", name, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(h http.Handler, method, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://weir.example"+path, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
