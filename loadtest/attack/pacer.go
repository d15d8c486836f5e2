package attack

import (
	"context"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// near is how long before a request is due the pacer turns to its alarm, which nothing interrupts.
const near = 2 * time.Millisecond

// pacer tells vegeta when to send. It remembers when each request was due, as vegeta itself only knows when it was sent.
type pacer struct {
	ctx    context.Context
	plan   schedule
	length time.Duration
	alarm  *alarm

	mu      sync.Mutex
	began   time.Time
	due     map[uint64]time.Time // by the number of the request, until it has ended
	got     map[uint64]*connecting
	changed chan struct{} // closed by set
	steady  *steady
}

// steady is a rate that was set while the stage runs: from a time and a number of requests on.
type steady struct {
	rate  float64
	since time.Duration
	hits  uint64
}

var _ vegeta.Pacer = (*pacer)(nil)

func newPacer(ctx context.Context, plan schedule, length time.Duration) *pacer {
	return &pacer{ctx: ctx, plan: plan, length: length, alarm: newAlarm(), due: map[uint64]time.Time{}, got: map[uint64]*connecting{}, changed: make(chan struct{})}
}

// Pace waits until request number hits is due, so that the stage can end, or its rate change, meanwhile.
func (p *pacer) Pace(elapsed time.Duration, hits uint64) (wait time.Duration, stop bool) {
	p.mu.Lock()
	if p.began.IsZero() {
		p.began = time.Now().Add(-elapsed)
	}
	p.mu.Unlock()
	for {
		at, changed := p.next(hits)
		due := p.began.Add(min(at, p.length))
		if again, over := p.approach(due, changed); over {
			return 0, true
		} else if again {
			continue
		}
		p.alarm.wait(due)
		if at >= p.length {
			return 0, true
		}
		p.mu.Lock()
		p.due[hits] = p.began.Add(at)
		p.mu.Unlock()
		return 0, false
	}
}

// approach waits until due is near: over says that the run has ended meanwhile, again that another time may be due.
func (p *pacer) approach(due time.Time, changed <-chan struct{}) (again, over bool) {
	d := time.Until(due) - near
	if d <= 0 {
		return false, p.ctx.Err() != nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.ctx.Done():
		return false, true
	case <-changed:
		return true, false
	case <-timer.C:
		return false, false
	}
}

// next is when the request is due; the stage's end or later if it is not due in this stage.
func (p *pacer) next(hits uint64) (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.steady; s != nil {
		if s.hits > hits { // it was set before the first one that it is for
			s.hits = hits
		}
		if s.rate <= 0 {
			return p.length, p.changed
		}
		return s.since + time.Duration(float64(hits-s.hits)/s.rate*float64(time.Second)), p.changed
	}
	at, ok := p.plan.due(hits)
	if !ok {
		return p.length, p.changed
	}
	return at, p.changed
}

// set makes the rate another one for the rest of the stage.
func (p *pacer) set(rate float64, sent uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steady = &steady{rate: rate, hits: sent}
	if !p.began.IsZero() {
		p.steady.since = time.Since(p.began)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// Rate implements vegeta.Pacer.
func (p *pacer) Rate(elapsed time.Duration) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.steady != nil {
		return p.steady.rate
	}
	return p.plan.rate(elapsed)
}

// now is the rate that is wanted now.
func (p *pacer) now() float64 {
	p.mu.Lock()
	began := p.began
	p.mu.Unlock()
	if began.IsZero() {
		return p.Rate(0)
	}
	return p.Rate(time.Since(began))
}

// connected notes how a request got its connection.
func (p *pacer) connected(n uint64, c *connecting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got[n] = c
}

// take fills in, once, what vegeta does not know of a request.
func (p *pacer) take(n uint64, s *Shot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Due = s.Sent
	if due, ok := p.due[n]; ok {
		s.Due = due
	}
	if c := p.got[n]; c != nil {
		s.Connecting, s.Opened = c.took, c.opened
	}
	delete(p.due, n)
	delete(p.got, n)
}
