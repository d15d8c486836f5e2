package router

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/router/fetch"
)

func fetchAllow(addresses ...string) fetch.Options { return fetch.Options{Allow: addresses} }

// record asks the handler without a server.
func (f *fixture) record(t *testing.T, a ask) answer {
	t.Helper()
	if a.method == "" {
		a.method = http.MethodPost
	}
	w := httptest.NewRecorder()
	f.rt.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), a.method, a.path, strings.NewReader(a.body)))
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestFetchImage(t *testing.T) {
	t.Parallel()
	var photo bytes.Buffer
	if err := png.Encode(&photo, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/page" {
			_, _ = w.Write([]byte("<html>"))
			return
		}
		_, _ = w.Write(photo.Bytes())
	}))
	t.Cleanup(site.Close)
	f := start(t, Options{Backend: replicaBackend(t, echo), Fetch: fetchAllow(site.Listener.Addr().String())})
	tests := []struct {
		name   string
		header map[string]string
		url    string
		status int
		text   string
	}{
		{"no browser", nil, site.URL + "/cat.png", 200, ""},
		{"own page", map[string]string{"Sec-Fetch-Site": "same-origin"}, site.URL + "/cat.png", 200, ""},
		{"own page of an old browser", map[string]string{"Origin": f.url}, site.URL + "/cat.png", 200, ""},
		{"other site", map[string]string{"Sec-Fetch-Site": "cross-site"}, site.URL + "/cat.png", 403, "only weir's own pages"},
		{"sister site", map[string]string{"Sec-Fetch-Site": "same-site"}, site.URL + "/cat.png", 403, "only weir's own pages"},
		{"other site of an old browser", map[string]string{"Origin": "https://example.com"}, site.URL + "/cat.png", 403, "only weir's own pages"},
		{"no image", nil, site.URL + "/page", 415, "not a JPEG, PNG, GIF or BMP"},
		{"closed address", nil, "http://127.0.0.1/", 403, "not public"},
		{"no URL", nil, "cat.png", 400, "starts with https://"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := asked.Load()
			header := map[string]string{"Content-Type": "application/json; charset=utf-8"}
			for name, value := range tt.header {
				header[name] = value
			}
			got := f.do(t, ask{path: "/home/fetch", header: header, body: `{"url":"` + tt.url + `"}`})
			if got.status != tt.status || !strings.Contains(got.body, tt.text) {
				t.Fatalf("%d %s, want %d with %q", got.status, got.body, tt.status, tt.text)
			}
			if tt.status == 403 && asked.Load() != before {
				t.Error("the site was asked")
			}
			if tt.status == 200 && (got.body != photo.String() || got.header.Get("Content-Type") != "image/png" || got.header.Get("X-Content-Type-Options") != "nosniff") {
				t.Errorf("%d bytes with %v", len(got.body), got.header)
			}
		})
	}
}

// TestFetchesAreBounded fetches one more than the limit.
func TestFetchesAreBounded(t *testing.T) {
	t.Parallel()
	arrived, leave := make(chan struct{}), make(chan struct{})
	site := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-leave }))
	t.Cleanup(site.Close)
	release := sync.OnceFunc(func() { close(leave) })
	t.Cleanup(release)
	f := start(t, Options{Backend: replicaBackend(t, echo), Fetch: fetchAllow(site.Listener.Addr().String()), Limits: Limits{Fetches: 1}})
	one := ask{path: "/home/fetch", header: map[string]string{"Content-Type": "application/json"}, body: `{"url":"` + site.URL + `"}`}
	first := make(chan answer, 1)
	go func() { first <- f.do(t, one) }()
	soon.Next(t, "the first fetch", arrived)
	if got := f.do(t, one); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	release()
	if got := soon.Next(t, "its answer", first); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("the first fetch: %d %s", got.status, got.body)
	}
}
