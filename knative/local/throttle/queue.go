package throttle

import (
	"context"
	"fmt"

	netstats "knative.dev/networking/pkg/http/stats"

	"weir.dev/weir/knative"
)

// waiter is a request in the queue.
type waiter struct {
	ready   chan struct{} // closed when replica or err is set
	replica *replica
	err     error
	avoid   []*replica
}

// acquire returns a replica with a place for one request, to be given back by release. It waits for one in the order of
// arrival. A request that is tried again, having replicas to avoid, goes to the front, as it has been here longest, and is
// not refused. On an error, nothing is held.
func (t *Throttle) acquire(ctx context.Context, avoid []*replica) (*replica, error) {
	t.mu.Lock()
	if len(t.replicas) == 0 {
		t.askForReplica()
		if t.failure != nil {
			defer t.mu.Unlock()
			return nil, t.notReady()
		}
	}
	if t.waiting.Len() == 0 {
		if r := t.pick(avoid); r != nil {
			t.take(r)
			t.mu.Unlock()
			return r, nil
		}
	}
	again := len(avoid) > 0
	if !again && t.full() {
		defer t.mu.Unlock()
		return nil, t.overloaded()
	}
	w := &waiter{ready: make(chan struct{}), avoid: avoid}
	place := t.waiting.PushBack(w)
	if again {
		t.waiting.MoveToFront(place)
	}
	t.mu.Unlock()

	select {
	case <-w.ready:
		return w.replica, w.err
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case w.replica != nil: // it came at the same moment
		t.give(w.replica)
	case w.err == nil:
		t.waiting.Remove(place)
	}
	return nil, ctx.Err()
}

// full says that no more may wait. As on Knative, each replica has its queue: what scales out may have more wait for it, no
// longer than before.
func (t *Throttle) full() bool { return t.waiting.Len() >= t.o.QueueDepth*max(1, len(t.replicas)) }

func (t *Throttle) overloaded() error {
	return fmt.Errorf("revision %s: %w: %d requests wait", t.o.Revision, knative.ErrOverloaded, t.waiting.Len())
}

// Refuse is RoundTrip for a request that it would refuse as the queue is full: it counts one and returns the error. If it
// returns nil nothing was counted. Without replicas it leaves all to RoundTrip, which asks for one.
func (t *Throttle) Refuse() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.replicas) == 0 || !t.full() {
		return nil
	}
	now := t.o.Now()
	t.all.HandleEvent(netstats.ReqEvent{Time: now, Type: netstats.ReqIn})
	t.all.HandleEvent(netstats.ReqEvent{Time: now, Type: netstats.ReqOut})
	t.finished++
	return t.overloaded()
}

// take counts a request at the replica, whose place is reserved.
func (t *Throttle) take(r *replica) {
	now := t.o.Now()
	r.inFlight++
	t.inFlight++
	r.stats.HandleEvent(netstats.ReqEvent{Time: now, Type: netstats.ReqIn})
	t.executing.HandleEvent(netstats.ReqEvent{Time: now, Type: netstats.ReqIn})
}

// release gives a place at a replica back.
func (t *Throttle) release(r *replica) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.give(r)
}

func (t *Throttle) give(r *replica) {
	now := t.o.Now()
	r.inFlight--
	t.inFlight--
	r.stats.HandleEvent(netstats.ReqEvent{Time: now, Type: netstats.ReqOut})
	t.executing.HandleEvent(netstats.ReqEvent{Time: now, Type: netstats.ReqOut})
	if r.free != nil {
		r.free()
	}
	t.settle(r)
	t.dispatch()
}

// dispatch gives replicas to the waiters that have waited longest.
func (t *Throttle) dispatch() {
	for place := t.waiting.Front(); place != nil; place = t.waiting.Front() {
		w := place.Value.(*waiter)
		r := t.pick(w.avoid)
		if r == nil {
			return
		}
		t.take(r)
		w.replica = r
		t.waiting.Remove(place)
		close(w.ready)
	}
}

func (t *Throttle) failWaiting(err error) {
	for place := t.waiting.Front(); place != nil; place = t.waiting.Front() {
		w := place.Value.(*waiter)
		w.err = err
		t.waiting.Remove(place)
		close(w.ready)
	}
}
