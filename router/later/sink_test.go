package later

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// sink is a real one: it answers with the statuses of its list, then 202, and tells of the events it took.
type sink struct {
	url   string
	taken chan *event.Event

	mu       sync.Mutex
	statuses []int
	calls    int
}

func newSink(t *testing.T, statuses ...int) *sink {
	t.Helper()
	s := &sink{taken: make(chan *event.Event, 100), statuses: statuses}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls++
		status := http.StatusAccepted
		if len(s.statuses) > 0 {
			status, s.statuses = s.statuses[0], s.statuses[1:]
		}
		s.mu.Unlock()
		e, err := binding.ToEvent(r.Context(), cehttp.NewMessageFromHttpRequest(r))
		if err != nil || e.Validate() != nil {
			t.Errorf("the sink got no event: %v %v", err, e)
		}
		if status >= 300 {
			w.Header().Set("Location", "/elsewhere")
			http.Error(w, "no "+strconv.Itoa(status), status)
			return
		}
		w.WriteHeader(status)
		s.taken <- e
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *sink) next(t *testing.T) *event.Event {
	t.Helper()
	select {
	case e := <-s.taken:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return nil
	}
}

// heal lets the sink take what comes from now on.
func (s *sink) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}
