package router

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

const (
	// liveEvery is how often the viewers of /home/live are told what runs.
	liveEvery = time.Second
	// liveStall bounds a reading of what runs and a write to one viewer.
	liveStall = 10 * time.Second
)

// live tells any number of viewers what runs, from one reading a second, and reads nothing while there is no viewer.
type live struct {
	status statusFunc
	limit  int
	joined chan struct{} // of capacity 1: wakes run for the first viewer
	ended  chan struct{} // closed when run returns

	mu      sync.Mutex
	viewers map[chan []byte]bool
	last    []byte // the newest event while there are viewers
	waking  bool   // run was woken and has not published since
}

func newLive(status statusFunc, limit int) *live {
	return &live{
		status: status, limit: limit, joined: make(chan struct{}, 1), ended: make(chan struct{}), viewers: map[chan []byte]bool{},
	}
}

// run samples until ctx ends; then every viewer's stream ends. It is called once.
func (l *live) run(ctx context.Context) {
	defer close(l.ended)
	ticker := time.NewTicker(liveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.joined:
			ticker.Reset(liveEvery)
		case <-ticker.C:
		}
		if l.watched() {
			l.publish(l.sample(ctx))
		}
	}
}

// sample reads what runs as one server-sent event; a comment, which clients skip, if it cannot be read.
func (l *live) sample(ctx context.Context) []byte {
	ctx, cancel := context.WithTimeout(ctx, liveStall)
	defer cancel()
	services, err := l.status(ctx)
	if err == nil {
		if services == nil {
			services = []knative.ServiceStatus{}
		}
		var data []byte
		data, err = json.Marshal(struct {
			Time     int64                   `json:"time"`
			Services []knative.ServiceStatus `json:"services"`
		}{time.Now().UnixMilli(), services})
		if err == nil {
			return fmt.Appendf(nil, "data: %s\n\n", data)
		}
	}
	return []byte(": what runs could not be read\n\n")
}

// watched says whether there are viewers.
func (l *live) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.viewers) == 0 {
		l.waking = false
	}
	return len(l.viewers) > 0
}

// publish gives every viewer the event; one that has not taken the event before loses that one.
func (l *live) publish(event []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.waking = event, false
	for v := range l.viewers {
		select {
		case <-v:
		default:
		}
		v <- event
	}
}

// join returns a channel of events, the newest one already in it if there is one.
func (l *live) join() (chan []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.viewers) >= l.limit {
		return nil, &server.Error{Status: http.StatusServiceUnavailable, Message: "too many viewers: close another page", RetryAfter: liveStall}
	}
	v := make(chan []byte, 1)
	switch {
	case l.last != nil:
		v <- l.last
	case !l.waking:
		l.waking = true
		select {
		case l.joined <- struct{}{}:
		default:
		}
	}
	l.viewers[v] = true
	return v, nil
}

func (l *live) leave(v chan []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, v)
	if len(l.viewers) == 0 {
		l.last = nil
	}
}

// serve streams the events to one viewer until it leaves or run ends. An event a second is its heartbeat too.
func (l *live) serve(w http.ResponseWriter, r *http.Request) error {
	v, err := l.join()
	if err != nil {
		return err
	}
	defer l.leave(v)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	event := []byte("retry: 1000\n\n")
	if r.Method == http.MethodHead {
		return nil
	}
	for {
		// A connection without deadlines is bounded by its client alone.
		_ = rc.SetWriteDeadline(time.Now().Add(liveStall))
		if _, err := w.Write(event); err != nil {
			return fmt.Errorf("write to a viewer: %w", context.Canceled)
		}
		if err := rc.Flush(); err != nil {
			return fmt.Errorf("write to a viewer: %w", context.Canceled)
		}
		select {
		case event = <-v:
		case <-r.Context().Done():
			return nil
		case <-l.ended:
			return nil
		}
	}
}
