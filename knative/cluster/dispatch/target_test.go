package dispatch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	servingnet "knative.dev/serving/pkg/networking"

	"weir.dev/weir/internal/soon"
)

// TestLoad counts what is under way, and keeps the count when the addresses change.
func TestLoad(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-finish }))
	t.Cleanup(srv.Close)
	release := sync.OnceFunc(func() { close(finish) })
	t.Cleanup(release)
	at := srv.Listener.Addr().String()
	w := newWorld(t, io.Discard, nil)
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, "http", at)
	w.ready(t, "half", 0)
	done := make(chan error, 1)
	go func() { _, _, err := post(t.Context(), w, "half-1", "/", nil); done <- err }()
	soon.Next(t, "the request", arrived)
	if r := w.ready(t, "half", 0)[0].Revisions[0]; r.Queue != 1 || r.Concurrency != 0 {
		t.Errorf("waiting at the activator: %+v", r)
	}
	w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http", at)
	if r := w.ready(t, "half", 1)[0].Revisions[0]; r.Queue != 0 || r.Concurrency != 1 {
		t.Errorf("at a replica: %+v", r)
	}
	release()
	if err := soon.Next(t, "its answer", done); err != nil {
		t.Error(err)
	}
	if r := w.ready(t, "half", 1)[0].Revisions[0]; r.Concurrency != 0 {
		t.Errorf("after the answer: %+v", r)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	for _, tt := range []struct {
		at   float64
		want int
	}{{10.1, 0}, {10.9, 0}, {11.0, 2}, {11.5, 2}, {12.2, 2}, {20, 0}} {
		at := time.UnixMilli(int64(tt.at * 1000))
		if got := m.lastSecond(at); got != tt.want {
			t.Errorf("at %v: %d, want %d", tt.at, got, tt.want)
		}
		m.add(at)
	}
}
