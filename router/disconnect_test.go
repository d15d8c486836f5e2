package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// TestClientGone leaves while the replica works: the replica's request ends, and the access line says 499.
func TestClientGone(t *testing.T) {
	t.Parallel()
	arrived, gone := make(chan struct{}), make(chan struct{})
	f := start(t, Options{Backend: replicaBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/models/imagenet:predict", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-arrived; cancel() }()
	if res, err := f.client.Do(r); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, %v", res, err)
	}
	soon.Next(t, "the end of the replica's request", gone)
	waitFor(t, func() bool { return strings.Contains(f.log.String(), `"status":499`) }, f.log.String)
}

// TestClientGoneMidAnswer leaves while an answer is streamed.
func TestClientGoneMidAnswer(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})})
	res, err := f.client.Post(f.url+"/v1/models/imagenet:predict", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	soon.Next(t, "the end of the replica's request", gone)
	waitFor(t, func() bool { return strings.Contains(f.log.String(), `"status":499`) }, f.log.String)
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	stuck := replicaBackend(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	byDefault := start(t, Options{Backend: stuck, Limits: Limits{Timeout: 50 * time.Millisecond}})
	byHeader := start(t, Options{Backend: stuck})
	cut := start(t, Options{Backend: stuck, Limits: Limits{Timeout: time.Millisecond, MaxTimeout: 50 * time.Millisecond}})
	tests := []struct {
		name, timeout string
		f             *fixture
	}{
		{"default", "", byDefault}, {"duration", "50ms", byHeader}, {"seconds", "0.05", byHeader}, {"cut", "2h", cut}, {"cut seconds", "1e300", cut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.f.do(t, ask{path: "/v1/models/imagenet:predict", body: "{}", header: map[string]string{HeaderTimeout: tt.timeout}})
			if got.status != http.StatusGatewayTimeout || got.errorText() != "deadline exceeded" {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}

// TestDeadlineOfSlowBody sends half a body and no more: the answer does not wait for the rest.
func TestDeadlineOfSlowBody(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo)})
	for _, more := range []string{"", "Content-Type: application/cloudevents+json\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(4 * time.Second)); err != nil {
			t.Fatal(err)
		}
		path := "/v1/models/imagenet:predict"
		if more != "" {
			path = "/"
		}
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-Weir-Timeout: 50ms\r\n%sContent-Length: 10\r\n\r\n12345", path, more)
		status, err := io.ReadAll(io.LimitReader(conn, int64(len("HTTP/1.1 504"))))
		if err != nil || string(status) != "HTTP/1.1 504" {
			t.Errorf("%q, %v", status, err)
		}
		_ = conn.Close()
	}
}

func TestBackendErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err    error
		status int
		text   string
		retry  string
	}{
		{knative.ErrOverloaded, 503, "queue is full", "1"},
		{knative.ErrNotReady, 503, "no replica that answers", "1"},
		{knative.ErrLost, 503, "replica was lost", "1"},
		{knative.ErrNoRevision, 503, "was just replaced", "1"},
		{context.DeadlineExceeded, 504, "deadline exceeded", ""},
		{errors.New("dial tcp 10.2.3.4:80: connection refused"), 502, "did not answer as HTTP wants it", ""},
	}
	for _, tt := range tests {
		f := start(t, Options{Backend: &fakeBackend{RoundTripFn: func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("round trip: %w", tt.err)
		}}})
		got := f.do(t, ask{path: "/v1/models/imagenet:predict", body: "{}"})
		if got.status != tt.status || !strings.Contains(got.errorText(), tt.text) || got.header.Get("Retry-After") != tt.retry {
			t.Errorf("%v: %d %q, Retry-After %q", tt.err, got.status, got.errorText(), got.header.Get("Retry-After"))
		}
		if strings.Contains(got.body, "10.2.3.4") || !strings.Contains(f.log.String(), tt.err.Error()) {
			t.Errorf("%v: the cause belongs in the log and not in %s", tt.err, got.body)
		}
	}
}
