package throttle

import (
	"time"

	netstats "knative.dev/networking/pkg/http/stats"
)

// Report is what has happened since the report before. The concurrencies are time-weighted means, as Knative's
// queue-proxy and activator count them.
type Report struct {
	// AverageConcurrency is the mean number of requests here: executing and waiting.
	AverageConcurrency float64
	// RequestCount counts the requests that arrived, as Knative does.
	RequestCount float64
	// Finished counts the requests that ended, whatever the answer.
	Finished float64
	// Executing is the mean number of requests at all replicas.
	Executing float64
	// PerReplica is the mean number of requests at each replica since the last report or since it was added, by name.
	PerReplica map[string]float64
	// InFlight is how many requests are at the replicas now, Queued how many wait.
	InFlight, Queued int
}

// Report returns what has happened since the last Report, or New. It has one caller.
func (t *Throttle) Report(now time.Time) Report {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, executing := t.all.Report(now), t.executing.Report(now)
	rep := Report{
		AverageConcurrency: all.AverageConcurrency,
		RequestCount:       all.RequestCount,
		Finished:           t.finished,
		Executing:          executing.AverageConcurrency,
		PerReplica:         make(map[string]float64, len(t.reported)),
		InFlight:           t.inFlight,
		Queued:             t.waiting.Len(),
	}
	t.finished = 0
	kept := t.reported[:0]
	for _, r := range t.reported {
		rep.PerReplica[r.name] += r.stats.Report(now).AverageConcurrency
		if !r.withdrawn || r.inFlight > 0 {
			kept = append(kept, r)
		}
	}
	clear(t.reported[len(kept):])
	t.reported = kept
	return rep
}

// enter counts a request in and says whether a replica is ready for it.
func (t *Throttle) enter() (ready bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.HandleEvent(netstats.ReqEvent{Time: t.o.Now(), Type: netstats.ReqIn})
	return len(t.replicas) > 0
}

// leave counts a request out, with the replica that it held.
func (t *Throttle) leave(r *replica) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.HandleEvent(netstats.ReqEvent{Time: t.o.Now(), Type: netstats.ReqOut})
	t.finished++
	if r != nil {
		t.give(r)
	}
}
