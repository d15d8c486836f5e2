// Package local is the one-machine engine: it runs Knative Services on this machine, every replica a process, every
// scaling decision Knative's own. The folders below it do the parts: replica a process, throttle the requests before
// replicas, autoscale the decisions; here they are put together, kept in a state folder and controlled over a socket.
package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local/autoscale"
)

// Options configure an Engine. StateDir is required.
type Options struct {
	// StateDir holds services, records of replicas, logs and the control socket. One engine uses it at a time.
	StateDir string
	// Address is the host:port that the router serves on, for clients; Port is its port, for the services' URLs.
	Address string
	Port    int
	// Domain is the end of host names: NAME.default.DOMAIN. If empty, localhost.
	Domain string
	// Autoscaler has keys of Knative's config-autoscaler.
	Autoscaler map[string]string
	// Drain bounds how long a replica's requests may go on when the engine ends. If zero, 30 s.
	Drain time.Duration
	// Version is what the control API answers to GET /version.
	Version string
	Log     zerolog.Logger
}

// Engine implements knative.Engine and knative.Backend.
type Engine struct {
	o        Options
	cfg      *autoscalerconfig.Config
	store    *store
	log      zerolog.Logger
	shutdown func()
	asked    chan struct{} // closed when the control API was asked to end weir
	started  chan struct{} // closed when the control API can be reached

	// apply serialises changes of services and guards what follows. The maps, and the services in them, change with mu
	// held as well: to read them either will do.
	apply   sync.Mutex
	running context.Context              // set by Run; nil before
	ending  bool                         // nothing is started any more
	leaving map[string][]<-chan struct{} // of services that were deleted: each closed when a revision is gone
	wg      sync.WaitGroup

	mu        sync.RWMutex
	services  map[string]*service
	revisions map[string]*revision // by name, of all services
	changed   chan struct{}
}

var (
	_ knative.Engine  = (*Engine)(nil)
	_ knative.Backend = (*Engine)(nil)
)

// New opens the state folder and reads the services in it. It ends the replicas that a crashed engine left. Replicas
// are started by Run. An engine that is not run has to be closed.
func New(o Options) (*Engine, error) {
	if o.Domain == "" {
		o.Domain = "localhost"
	}
	if o.Drain <= 0 {
		o.Drain = 30 * time.Second
	}
	cfg, err := autoscale.LoadConfig(o.Autoscaler)
	if err != nil {
		return nil, fmt.Errorf("autoscaler settings: %w", err)
	}
	st, err := openStore(o.StateDir, o.Log)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		o: o, cfg: cfg, store: st, log: o.Log, asked: make(chan struct{}), started: make(chan struct{}),
		leaving: map[string][]<-chan struct{}{}, services: map[string]*service{}, revisions: map[string]*revision{}, changed: make(chan struct{}),
	}
	e.shutdown = sync.OnceFunc(func() { close(e.asked) })
	saved, err := st.load()
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	for _, s := range saved {
		if err := e.adopt(s); err != nil {
			return nil, errors.Join(fmt.Errorf("service %s of an earlier run: %w", s.Service.Name, err), e.Close())
		}
	}
	return e, nil
}

// Close gives the state folder back. Run does it by itself.
func (e *Engine) Close() error {
	e.apply.Lock()
	defer e.apply.Unlock()
	e.ending = true
	for _, r := range e.revisions {
		r.close()
	}
	return e.store.close()
}

// Run runs the replicas and the control API until ctx ends, then drains: requests that are here finish, replicas are
// ended, no process is left. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	control, err := e.listen()
	if err != nil {
		return errors.Join(err, e.Close())
	}
	close(e.started)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.apply.Lock()
	e.running = ctx
	for _, r := range e.revisions {
		e.start(r)
	}
	e.apply.Unlock()
	err = control.run(ctx) // returns when ctx ends or the socket fails
	cancel()
	e.apply.Lock()
	e.ending = true
	e.apply.Unlock()
	e.wg.Wait()
	return errors.Join(err, e.store.close())
}

// start runs a revision's loop. e.apply is held, and Run has begun.
func (e *Engine) start(r *revision) {
	ctx := e.running
	e.wg.Go(func() { r.run(ctx) })
}

// Started is closed when Run has begun and the control API can be reached.
func (e *Engine) Started() <-chan struct{} { return e.started }

// ShutdownRequested is closed when somebody asked over the control API that weir ends.
func (e *Engine) ShutdownRequested() <-chan struct{} { return e.asked }

// RoundTrip sends a request to the revision that req.URL.Host names.
func (e *Engine) RoundTrip(req *http.Request) (*http.Response, error) {
	e.mu.RLock()
	r := e.revisions[req.URL.Host]
	e.mu.RUnlock()
	if r == nil || r.builtin {
		return nil, fmt.Errorf("%w: %s", knative.ErrNoRevision, req.URL.Host)
	}
	return r.throttle.RoundTrip(req)
}

// Refuse implements knative.Refuser.
func (e *Engine) Refuse(revision string) error {
	e.mu.RLock()
	r := e.revisions[revision]
	e.mu.RUnlock()
	if r == nil || r.builtin {
		return nil // RoundTrip says so
	}
	return r.throttle.Refuse()
}

// Changed returns a channel that is closed at the next change of what Status says about routing.
func (e *Engine) Changed() <-chan struct{} {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.changed
}

// notify wakes those that wait on Changed.
func (e *Engine) notify() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *Engine) sorted() []*service {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([]*service, 0, len(e.services))
	for _, name := range slices.Sorted(maps.Keys(e.services)) {
		out = append(out, e.services[name])
	}
	return out
}
