package local

import (
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"weir.dev/weir/internal/report"
	"weir.dev/weir/knative/local/replica"
	"weir.dev/weir/knative/local/throttle"
)

// Why a revision takes no more requests.
var (
	errEnding  = errors.New("weir is ending")
	errDeleted = errors.New("it was deleted")
)

// flushInterval is how often a revision that drains looks whether its queue is empty.
const flushInterval = 20 * time.Millisecond

// member is a replica with where it is in its life.
type member struct {
	*replica.Replica
	ready   bool
	leaving bool
	started time.Time
	load    float64 // mean number of requests, as last reported
	said    report.Replica
}

// reconcile starts and ends replicas until there are as many as wanted.
func (r *revision) reconcile() {
	defer r.publish()
	if r.draining {
		return
	}
	staying := 0
	for _, m := range r.members {
		if !m.leaving {
			staying++
		}
	}
	for ; staying > r.wanted; staying-- {
		r.dismiss(r.leastUseful())
	}
	for ; staying < r.wanted && !r.backoff.held(); staying++ {
		if err := r.spawn(); err != nil {
			r.failed(err)
		}
	}
}

// leastUseful picks the replica to end: one that is not ready, else the least busy, else the newest.
func (r *revision) leastUseful() *member {
	var worst *member
	for _, m := range r.members {
		if !m.leaving && (worst == nil || lessUseful(m, worst)) {
			worst = m
		}
	}
	return worst
}

func lessUseful(a, b *member) bool {
	switch {
	case a.ready != b.ready:
		return !a.ready
	case a.load != b.load:
		return a.load < b.load
	}
	return a.started.After(b.started)
}

// spawn starts one replica and watches it.
func (r *revision) spawn() error {
	name := r.rev.Name + "-" + strings.ToLower(rand.Text()[:5])
	rep, err := replica.Start(r.spec(name))
	if err != nil {
		return err
	}
	m := &member{Replica: rep, started: time.Now()}
	r.members[name] = m
	r.engine.wg.Go(func() {
		select {
		case <-rep.Ready():
			path := reportPath(r.rev)
			said, err := askReport(path, m.Addr())
			r.post(func() { m.said = said; r.nowReady(m) })
			if err == nil {
				r.followReport(m, path)
			}
		case <-rep.Exited():
		}
		<-rep.Exited()
		r.post(func() { r.exited(m) })
	})
	return nil
}

// nowReady lets a replica take requests.
func (r *revision) nowReady(m *member) {
	if m.leaving {
		return
	}
	m.ready = true
	r.throttle.AddStarted(m.Name(), m.Addr(), throttle.Started{Timing: m.timing(time.Now()), WholeCalls: m.said.WholeCalls})
	r.mu.Lock()
	r.view.failure = nil
	first := !r.view.everReady
	r.mu.Unlock()
	r.engine.log.Info().Str("replica", m.Name()).Dur("ms", time.Since(m.started)).Msg("replica ready")
	r.publish()
	if first {
		// Whether the initial scale is reached is the autoscaler's to say; a roll-out waits for it.
		r.decide(time.Now())
	}
}

// exited forgets a replica. One that nobody ended is replaced: at once if it was in good health, else after a while.
func (r *revision) exited(m *member) {
	delete(r.members, m.Name())
	r.throttle.Lost(m.Name())
	if err := m.Err(); err != nil && !m.leaving {
		if r.backoff.forgive(time.Now(), m.started, m.ready) {
			r.engine.log.Error().Err(err).Str("revision", r.rev.Name).Msg("replica failed and is replaced")
		} else {
			r.failed(err)
		}
	}
	r.reconcile()
}

// failed holds off the next start and says why, to requests as well if there is no other replica.
func (r *revision) failed(err error) {
	wait := r.backoff.hold(time.Now())
	r.mu.Lock()
	r.view.failure = err
	r.mu.Unlock()
	r.throttle.Fail(err)
	r.engine.log.Error().Err(err).Str("revision", r.rev.Name).Dur("retry_ms", wait).Msg("replica failed")
	r.publish()
	r.engine.notify()
}

// resume starts replicas again after a failure. Requests wait for them again.
func (r *revision) resume() {
	r.backoff.release()
	if r.draining {
		return
	}
	r.throttle.Fail(nil)
	r.reconcile()
}

// dismiss ends a replica once its requests are done.
func (r *revision) dismiss(m *member) {
	m.leaving = true
	drained := r.throttle.Remove(m.Name())
	r.engine.wg.Go(func() {
		r.awaitDrained(drained, m.Exited())
		m.Stop()
	})
}

// awaitDrained waits for the requests of a replica that takes no more. They may go on as long as a request may take;
// when the revision ends, as long as the engine's drain.
func (r *revision) awaitDrained(drained, exited <-chan struct{}) {
	most := r.engine.o.Drain
	limit := time.NewTimer(max(requestLimit(r.rev), most))
	defer limit.Stop()
	for hurry := r.hurry; ; {
		select {
		case <-drained:
			return
		case <-exited:
			return
		case <-limit.C:
			return
		case <-hurry:
			hurry = nil
			limit.Reset(most)
		}
	}
}

// drain ends the revision: requests that are here finish, no replica is started any more.
func (r *revision) drain(why error) {
	if r.draining {
		return
	}
	r.draining, r.wanted = true, 0
	r.flushBefore = time.Now().Add(r.engine.o.Drain)
	close(r.hurry)
	r.backoff.release()
	r.throttle.Fail(why)
	for _, m := range r.members {
		if !m.leaving && !m.ready {
			r.dismiss(m)
		}
	}
	r.drainReplicas()
}

// drainReplicas dismisses the replicas once no request waits for one.
func (r *revision) drainReplicas() {
	r.flush = nil
	now := time.Now()
	if r.throttle.Report(now).Queued > 0 && now.Before(r.flushBefore) {
		r.flush = time.After(flushInterval)
		return
	}
	for _, m := range r.members {
		if !m.leaving {
			r.dismiss(m)
		}
	}
	r.publish()
}

// publish shows others where the replicas are.
func (r *revision) publish() {
	ready, starting := 0, 0
	running := make([]member, 0, len(r.members))
	for _, m := range r.members {
		running = append(running, *m)
		switch {
		case m.leaving:
		case m.ready:
			ready++
		default:
			starting++
		}
	}
	r.mu.Lock()
	was := r.view.ready > 0
	r.view.ready, r.view.starting, r.view.wanted, r.view.running = ready, starting, r.wanted, running
	r.mu.Unlock()
	if was != (ready > 0) {
		r.engine.notify()
	}
}
