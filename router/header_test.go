package router

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/knative"
)

const goodTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceContext(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo)})
	tests := []struct {
		name, parent string
		kept         bool
	}{
		{"valid", goodTrace, true},
		{"later version", "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true},
		{"absent", "", false},
		{"short", goodTrace[:54], false},
		{"long", goodTrace + "-more", false},
		{"zero trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"zero parent", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false},
		{"capitals", strings.ToUpper(goodTrace), false},
		{"version ff", "ff" + goodTrace[2:], false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header := map[string]string{"Tracestate": "vendor=1"}
			if tt.parent != "" {
				header["Traceparent"] = tt.parent
			}
			got := f.do(t, ask{path: "/v1/models/imagenet:predict", header: header}).seen(t).Header
			parent, state := got.Get("Traceparent"), got.Get("Tracestate")
			if tt.kept && (parent != tt.parent || state != "vendor=1") {
				t.Errorf("the replica got %q, %q", parent, state)
			}
			if !tt.kept && (parent == tt.parent || !validTraceparent(parent) || state != "") {
				t.Errorf("the replica got %q, %q; want a new parent and no state", parent, state)
			}
		})
	}
}

func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	b := replicaBackend(t, echo)
	a := ask{path: "/v1/models/imagenet:predict", host: "weir.example.com", header: map[string]string{
		"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "outside.example.com", "Forwarded": "for=x",
		"Connection": "X-Hop", "X-Hop": "1", "X-Kept": "1",
	}}
	for _, tt := range []struct {
		trust bool
		want  map[string]string
	}{
		{false, map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "weir.example.com", "Forwarded": "", "X-Hop": "", "X-Kept": "1"}},
		{true, map[string]string{"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "outside.example.com", "Forwarded": "", "X-Hop": "", "X-Kept": "1"}},
	} {
		header := start(t, Options{Backend: b, TrustForwarded: tt.trust}).do(t, a).seen(t).Header
		got := map[string]string{}
		for name := range tt.want {
			got[name] = header.Get(name)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("trust %v (-want +got):\n%s", tt.trust, diff)
		}
	}
}

func TestAnswerPassesUnchanged(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Server-Timing", "queue;dur=3")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"the function's own"}`))
	})})
	got := f.do(t, ask{path: "/v1/models/imagenet:predict", body: "{}"})
	if got.status != 400 || got.body != `{"error":"the function's own"}` || got.header.Get("Server-Timing") != "queue;dur=3" {
		t.Errorf("%d %s %v", got.status, got.body, got.header)
	}
}

// TestHeadersAfterInterimAnswer has the client wait for a 100, as curl does with large bodies: the answer still says what answered.
func TestHeadersAfterInterimAnswer(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		echo(w, r)
	})})
	for _, expect := range []string{"", "100-continue"} {
		got := f.do(t, ask{path: "/v1/models/imagenet:predict", body: "{}", header: map[string]string{"Expect": expect, "X-Request-Id": "mine"}})
		for name, want := range map[string]string{knative.HeaderRevision: "imagenet-00001", "X-Request-Id": "mine"} {
			if v := got.header.Values(name); len(v) != 1 || v[0] != want {
				t.Errorf("Expect %q: %s is %q, want %q, once", expect, name, v, want)
			}
		}
		if got.status != http.StatusOK {
			t.Errorf("Expect %q: %d %s", expect, got.status, got.body)
		}
	}
}
