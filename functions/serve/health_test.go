package serve

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	o.Name = or(o.Name, "toy")
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t testing.TB, s *Server, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	check := func(when, path string, want int) {
		t.Helper()
		w := get(t, s, path)
		if w.Code != want {
			t.Errorf("%s: GET %s: status %d, want %d: %s", when, path, w.Code, want, w.Body)
		}
		if retry := w.Header().Get("Retry-After"); want == http.StatusServiceUnavailable && retry == "" {
			t.Errorf("%s: GET %s: no Retry-After", when, path)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/": 200, "/metrics": 200, "/readyz": 503, "/v1/models/toy": 503, "/v2": 503, "/nowhere": 503} {
		check("loading", path, want)
	}
	s.SetFailed(errors.New("secret path"))
	for path, want := range map[string]int{"/healthz": 503, "/": 503, "/metrics": 200, "/readyz": 503} {
		check("failed", path, want)
	}
	if body := get(t, s, "/readyz").Body.String(); strings.Contains(body, "secret") {
		t.Errorf("the cause reached the client: %s", body)
	}
}
