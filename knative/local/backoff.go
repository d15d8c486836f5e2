package local

import "time"

// A replica that ends by itself is started again after backoffFirst, doubled each time up to backoffMost, as Kubernetes
// does from 10 s to 5 min; a person at one machine waits for less. backoffReset of health forgets the failures.
const (
	backoffFirst = time.Second
	backoffMost  = 30 * time.Second
	backoffReset = time.Minute
)

// backoff holds off the next start after replicas failed. The zero value has seen none.
type backoff struct {
	failures int
	last     time.Time   // when a replica failed last
	timer    *time.Timer // nil unless starts are held off
}

// forgive notes that a replica failed and says whether another may be started at once: it was in good health and is the
// first that failed, or failed along with the first. Kubernetes, too, restarts a container at once the first time.
func (b *backoff) forgive(now, started time.Time, wasReady bool) bool {
	if !wasReady {
		return false
	}
	if now.Sub(started) >= backoffReset {
		b.failures = 0
	}
	if b.failures > 0 && !started.Before(b.last) {
		return false
	}
	if b.failures == 0 {
		b.failures, b.last = 1, now
	}
	return true
}

// hold holds off the next start and returns for how long. Failures while starts are held off count as one.
func (b *backoff) hold(now time.Time) time.Duration {
	wait := min(backoffFirst<<min(b.failures, 10), backoffMost)
	if b.timer == nil {
		b.failures++
		b.timer = time.NewTimer(wait)
	}
	b.last = now
	return wait
}

func (b *backoff) held() bool { return b.timer != nil }

// over receives when starts are no longer to be held off.
func (b *backoff) over() <-chan time.Time {
	if b.timer == nil {
		return nil
	}
	return b.timer.C
}

// release lets replicas be started again.
func (b *backoff) release() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}
