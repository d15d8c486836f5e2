package static

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"weir.dev/weir/knative"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"no YAML":        {"services: [", "yaml"},
		"unknown field":  {"services:\n- name: a\n  revision: []\n", "unknown field"},
		"no revision":    {"services:\n- name: a\n", `service "a"`},
		"no URL":         {"services:\n- name: a\n  revisions:\n  - name: a-1\n", `url ""`},
		"URL with path":  {"services:\n- name: a\n  revisions:\n  - {name: a-1, url: 'http://x/y'}\n", `url "http://x/y"`},
		"other scheme":   {"services:\n- name: a\n  revisions:\n  - {name: a-1, url: 'ftp://x'}\n", `url "ftp://x"`},
		"revision twice": {"services:\n- name: a\n  revisions:\n  - {name: r, url: 'http://x'}\n  - {name: r, url: 'http://x'}\n", `revision "r"`},
	} {
		if b, err := Parse([]byte(tt.text)); err == nil || b != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	now := time.Unix(5, 0)
	b, err := New(File{Services: []Service{
		{Name: "z", Revisions: []Revision{{Name: "z-1", URL: "http://z"}}},
		{Name: "a", URL: "http://a.example.com", EventTypes: []string{"x"}, Revisions: []Revision{
			{Name: "a-1", URL: "http://a:80/", Tags: []string{"t"}, Percent: 100, Version: 3, Images: true},
		}},
	}}, now)
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.Status(t.Context())
	want := []knative.ServiceStatus{
		{Name: "a", URL: "http://a.example.com", Ready: true, Model: true, EventTypes: []string{"x"}, Revisions: []knative.RevisionStatus{
			{Name: "a-1", Tags: []string{"t"}, Percent: 100, Version: 3, Images: true, State: knative.StateReady, Ready: 1, Wanted: 1, Created: now},
		}},
		{Name: "z", Ready: true, Model: true, Revisions: []knative.RevisionStatus{
			{Name: "z-1", State: knative.StateReady, Ready: 1, Wanted: 1, Created: now},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Status: %v (-want +got):\n%s", err, diff)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/lost":
			panic(http.ErrAbortHandler)
		case "/slow":
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+" "+r.URL.RequestURI())
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	b, err := New(File{Services: []Service{{Name: "a", Revisions: []Revision{
		{Name: "h1", URL: srv.URL}, {Name: "h2", URL: srv.URL, H2C: true}, {Name: "closed", URL: "http://127.0.0.1:1"},
	}}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	host := srv.Listener.Addr().String()
	for _, tt := range []struct {
		name, url, want string
		is              error
	}{
		{"HTTP/1", "http://h1/x?y=1", "HTTP/1.1 " + host + " /x?y=1", nil},
		{"HTTP/2", "http://h2/x", "HTTP/2.0 " + host + " /x", nil},
		{"unknown", "http://other/", "", knative.ErrNoRevision},
		{"nobody listens", "http://closed/", "", knative.ErrNotReady},
		{"lost", "http://h1/lost", "", knative.ErrLost},
		{"deadline", "http://h1/slow", "", context.DeadlineExceeded},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if errors.Is(tt.is, context.DeadlineExceeded) {
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, tt.url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.RoundTrip(r)
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.is)
		}
		if err == nil {
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if string(body) != tt.want || r.URL.Host == host {
				t.Errorf("%s: %q, want %q; the request's own host is now %s", tt.name, body, tt.want, r.URL.Host)
			}
		}
		cancel()
	}
}
