package throttle

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	netstats "knative.dev/networking/pkg/http/stats"
	"knative.dev/serving/pkg/queue"
)

// replica is one replica as the throttle sees it. Its Throttle's mu guards it.
type replica struct {
	name, addr string
	timing     string         // of its start, for Server-Timing; may be empty
	wholeCalls bool           // it takes short calls in one piece
	breaker    *queue.Breaker // nil: no limit
	free       func()         // gives a place of the breaker back
	stats      *netstats.RequestStats
	inFlight   int
	suspect    *time.Timer // not nil: it refused a connection and gets no request until the timer fires
	withdrawn  bool
	drained    chan struct{}
	isDrained  bool
}

func newReplica(name, addr string, concurrency int, now time.Time) *replica {
	r := &replica{name: name, addr: addr, stats: netstats.NewRequestStats(now), drained: make(chan struct{})}
	if concurrency > 0 {
		// Nobody queues at a replica: the throttle only ever reserves. A Breaker wants a depth above zero.
		r.breaker = queue.NewBreaker(queue.BreakerParams{
			QueueDepth: 1, MaxConcurrency: concurrency, InitialCapacity: concurrency,
		})
	}
	return r
}

// reserve takes a place at the replica if there is one.
func (r *replica) reserve() bool {
	if r.suspect != nil {
		return false
	}
	if r.breaker == nil {
		return true
	}
	free, ok := r.breaker.Reserve(context.Background())
	if ok {
		r.free = free // always the same function
	}
	return ok
}

func (r *replica) closeDrained() {
	if !r.isDrained {
		r.isDrained = true
		close(r.drained)
	}
}

// firstAvailableUpTo is the container concurrency up to which requests are packed onto the first replica with a free
// place, as Knative's activator does, so that few replicas are busy.
const firstAvailableUpTo = 3

// pick returns a replica with a place reserved, or nil. It follows Knative's activator (pkg/activator/net/lb_policy.go):
// the less busy of two random replicas without a limit, the first available up to a limit of 3, else round robin.
// A replica to avoid is taken only if no other has a place.
func (t *Throttle) pick(avoid []*replica) *replica {
	var r *replica
	switch {
	case len(t.replicas) == 0:
		return nil
	case t.o.ContainerConcurrency == 0:
		r = t.pickOfTwo(avoid)
	case t.o.ContainerConcurrency <= firstAvailableUpTo:
		r = t.pickFrom(0, avoid)
	default:
		r = t.pickFrom(t.next, avoid)
	}
	for i := 0; r == nil && i < len(avoid); i++ {
		if a := avoid[i]; !a.withdrawn && a.reserve() {
			r = a
		}
	}
	return r
}

// pickFrom returns the first replica with a place, beginning at index i and going round.
func (t *Throttle) pickFrom(i int, avoid []*replica) *replica {
	for n := range t.replicas {
		p := (i + n) % len(t.replicas)
		if r := t.replicas[p]; !slices.Contains(avoid, r) && r.reserve() {
			t.next = p + 1
			return r
		}
	}
	return nil
}

// pickOfTwo returns the less busy of two random replicas. If one of them may not be taken, it is the least busy of all
// that may.
func (t *Throttle) pickOfTwo(avoid []*replica) *replica {
	n := len(t.replicas)
	a := t.replicas[0]
	if n > 1 {
		i, j := rand.IntN(n), rand.IntN(n-1)
		if j >= i {
			j++ // any index but i
		}
		a = t.replicas[i]
		b := t.replicas[j]
		if b.inFlight < a.inFlight {
			a = b
		}
	}
	if !slices.Contains(avoid, a) && a.reserve() {
		return a
	}
	var least *replica
	for _, r := range t.replicas {
		if !slices.Contains(avoid, r) && r.reserve() && (least == nil || r.inFlight < least.inFlight) {
			least = r
		}
	}
	return least
}

// distrust gives a replica that refused a connection no request for a while.
func (t *Throttle) distrust(r *replica) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.withdrawn || r.suspect != nil {
		return
	}
	r.suspect = time.AfterFunc(suspicion, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		r.suspect = nil
		if !r.withdrawn {
			t.dispatch()
		}
	})
}
