// Package throttle stands before one revision's replicas as Knative's activator and queue-proxy do: it holds requests
// while there is no replica or all are busy, chooses a replica, never sends it more than its container concurrency, and
// tries another one when a replica is lost. It does not know what a replica is nor how many there should be.
//
// A replica's concurrency is kept by Knative's queue.Breaker and the load is counted by its stats.RequestStats. The
// queue in front of all replicas is our own: a Breaker has no order among waiters, counts its widest capacity into its
// bound, and would need a goroutine for each answer whose body is still read.
package throttle

import (
	"container/list"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	netstats "knative.dev/networking/pkg/http/stats"

	"weir.dev/weir/knative"
)

// Defaults of Options.
const (
	defaultQueueDepth  = 10_000 // as Knative's activator
	queueDepthPerPlace = 10
	defaultTimeout     = 300 * time.Second // revision-timeout-seconds of Knative's config-defaults
)

// suspicion is how long a replica that refused a connection gets no request. It died, most likely, and whoever watches
// the process says Lost long before this ends; if it lives after all, it is used again.
const suspicion = time.Second

// Options configure a Throttle. The zero value works.
type Options struct {
	// Revision is the revision's name, for X-Weir-Revision and errors.
	Revision string
	// ContainerConcurrency is how many requests a replica gets at a time; 0 is no limit.
	ContainerConcurrency int
	// QueueDepth is how many requests may wait for each replica, and how many while there is none. If zero,
	// 10 x ContainerConcurrency, and 10,000 if that has no limit.
	QueueDepth int
	// Timeout is the revision's timeoutSeconds: from a request's arrival to the first byte of its answer. If zero, 300 s.
	Timeout time.Duration
	// Transport sends a request to a replica. If nil, one tuned for many connections to few addresses, which sends gRPC
	// calls over unencrypted HTTP/2.
	Transport http.RoundTripper
	// Now is the clock of the statistics. If nil, time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.QueueDepth == 0 {
		o.QueueDepth = queueDepthPerPlace * o.ContainerConcurrency
	}
	if o.QueueDepth <= 0 {
		o.QueueDepth = defaultQueueDepth
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Throttle is an http.RoundTripper to the replicas of a revision. Its methods may be called from any goroutine.
type Throttle struct {
	o      Options
	poke   chan struct{}
	bodies sync.Pool // of *[]byte, for replay

	mu       sync.Mutex
	replicas []*replica          // they take requests, in the order of Add
	byName   map[string]*replica // replicas and those that drain
	reported []*replica          // byName and those that ended since the last Report
	next     int                 // where round robin goes on
	waiting  list.List           // of *waiter, oldest first; empty whenever a replica could take a request
	failure  error
	closed   bool
	tokens   float64 // for retries

	all, executing *netstats.RequestStats
	inFlight       int
	finished       float64
}

// New returns a Throttle without replicas.
func New(o Options) *Throttle {
	o = o.withDefaults()
	now := o.Now()
	return &Throttle{
		o:         o,
		poke:      make(chan struct{}, 1),
		byName:    map[string]*replica{},
		tokens:    maxRetryTokens,
		all:       netstats.NewRequestStats(now),
		executing: netstats.NewRequestStats(now),
	}
}

// Add makes a ready replica take requests. addr is host:port. It clears what Fail has set: a replica did get ready.
// A replica of the same name is forgotten first.
func (t *Throttle) Add(name, addr string) { t.AddStarted(name, addr, Started{}) }

// Started is what is known of a replica's start. The zero value knows nothing.
type Started struct {
	// Timing is what the start took, as values of Server-Timing. Answers to requests that waited for a start carry it.
	Timing string
	// WholeCalls says that the replica takes short gRPC calls in one piece, as package rpc has it.
	WholeCalls bool
}

// AddStarted is Add with what is known of the replica's start.
func (t *Throttle) AddStarted(name, addr string, s Started) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.forget(name)
	r := newReplica(name, addr, t.o.ContainerConcurrency, t.o.Now())
	r.timing, r.wholeCalls = s.Timing, s.WholeCalls
	t.byName[name] = r
	t.replicas = append(t.replicas, r)
	t.reported = append(t.reported, r)
	t.failure = nil
	t.dispatch()
}

// Remove sends a replica no new requests. The channel is closed when the requests it has are done, at once if there is
// no such replica.
func (t *Throttle) Remove(name string) (drained <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byName[name]
	if r == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	t.withdraw(r)
	t.settle(r)
	return r.drained
}

// Lost forgets a replica that died. Its requests fail by themselves, as its connections do.
func (t *Throttle) Lost(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(name)
}

func (t *Throttle) forget(name string) {
	r := t.byName[name]
	if r == nil {
		return
	}
	t.withdraw(r)
	delete(t.byName, name)
	r.closeDrained()
}

// withdraw takes a replica out of those that get requests.
func (t *Throttle) withdraw(r *replica) {
	r.withdrawn = true
	if r.suspect != nil {
		r.suspect.Stop()
	}
	for i, x := range t.replicas {
		if x == r {
			t.replicas = append(t.replicas[:i:i], t.replicas[i+1:]...)
			break
		}
	}
	if len(t.replicas) > 0 {
		return
	}
	if t.failure != nil {
		t.failWaiting(t.notReady())
	} else if t.waiting.Len() > 0 {
		t.askForReplica()
	}
}

// settle closes a withdrawn replica's drained once it has no request.
func (t *Throttle) settle(r *replica) {
	if r.withdrawn && r.inFlight == 0 {
		r.closeDrained()
		if t.byName[r.name] == r {
			delete(t.byName, r.name)
		}
	}
}

// Fail makes waiting and new requests fail with knative.ErrNotReady and the reason for as long as there is no replica.
// A nil reason makes requests wait again.
func (t *Throttle) Fail(reason error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.failure = reason
	if reason != nil && len(t.replicas) == 0 {
		t.failWaiting(t.notReady())
	}
}

func (t *Throttle) notReady() error {
	return &knative.NotReadyError{Reason: fmt.Sprintf("revision %s fails: %v", t.o.Revision, t.failure), Err: t.failure}
}

// Poke receives when a request arrives while there is no replica. Several requests may give one value.
func (t *Throttle) Poke() <-chan struct{} { return t.poke }

func (t *Throttle) askForReplica() {
	select {
	case t.poke <- struct{}{}:
	default: // one is still to be received
	}
}

var errClosed = errors.New("it was deleted")

// Close fails waiting and new requests with knative.ErrNotReady and closes idle connections. Requests at a replica go
// on.
func (t *Throttle) Close() {
	t.mu.Lock()
	t.closed, t.failure = true, errClosed
	for len(t.replicas) > 0 {
		r := t.replicas[0]
		t.withdraw(r)
		t.settle(r)
	}
	t.failWaiting(t.notReady())
	t.mu.Unlock()
	if c, ok := t.o.Transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
