package router

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

const (
	// refusalWindow is how long refusals are counted together.
	refusalWindow = time.Second
	// loggedRefusals is how many of them have access lines of their own.
	loggedRefusals = 10
)

// refusals counts the requests that were refused since a queue is full: under overload most are, and a line for each would
// cost more than refusing it. It is safe for concurrent use.
type refusals struct {
	log zerolog.Logger

	mu      sync.Mutex
	windows map[string]*window // by revision
}

type window struct {
	model string
	count int
}

func newRefusals(log zerolog.Logger) *refusals {
	return &refusals{log: log, windows: map[string]*window{}}
}

// unlogged counts a request if it was refused, and says whether it is one of too many to have an access line. A line for all
// of them follows.
func (f *refusals) unlogged(r *http.Request, answer *server.Error) bool {
	if answer == nil || !errors.Is(answer, knative.ErrOverloaded) {
		return false
	}
	target := exchangeOf(r.Context()).target
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.windows[target.Revision]
	if w == nil {
		w = &window{model: target.Model}
		f.windows[target.Revision] = w
		time.AfterFunc(refusalWindow, func() { f.end(target.Revision) })
	}
	w.count++
	return w.count > loggedRefusals
}

// end ends a revision's window.
func (f *refusals) end(revision string) {
	f.mu.Lock()
	w := f.windows[revision]
	delete(f.windows, revision)
	f.mu.Unlock()
	if w.count > loggedRefusals {
		f.log.Error().Str("model", w.model).Str("revision", revision).Int("refused", w.count).Int("unlogged", w.count-loggedRefusals).
			Msg("requests were refused in the last second: the queue is full")
	}
}
