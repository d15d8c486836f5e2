package autoscale

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/metrics"
)

// start is when every simulation begins; any time will do.
func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// revision makes a revision with annotations "key=value" of autoscaling.knative.dev.
func revision(concurrency int64, annotations ...string) *servingv1.Revision {
	rev := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{
		Name: "m-00001", Namespace: "default", Annotations: map[string]string{},
	}}
	for _, a := range annotations {
		key, value, _ := strings.Cut(a, "=")
		if !strings.Contains(key, "/") {
			key = "autoscaling.knative.dev/" + key
		}
		rev.Annotations[key] = value
	}
	rev.Spec.ContainerConcurrency = &concurrency
	return rev
}

// world is a revision's replicas and load in virtual time: replicas get ready coldStart after they are wanted.
type world struct {
	coldStart time.Duration
	rps       float64 // requests a second for each request in flight
	started   []time.Time
	now       time.Time
	scaler    *Scaler
	rows      []string
	last      string
}

func (w *world) ready() (ready, notReady int) {
	for _, t := range w.started {
		if w.now.Sub(t) >= w.coldStart {
			ready++
		}
	}
	return ready, len(w.started) - ready
}

func (w *world) adjust(wanted int) {
	for len(w.started) < wanted {
		w.started = append(w.started, w.now)
	}
	w.started = w.started[:wanted]
}

// tick decides and notes what has changed.
func (w *world) tick(load float64) Decision {
	d := w.scaler.Tick(w.now)
	ready, _ := w.ready()
	w.adjust(d.Wanted)
	key := fmt.Sprint(d.Wanted, d.Panic, w.scaler.state.phase)
	if key != w.last {
		w.rows = append(w.rows, fmt.Sprintf("%5.0fs load %-3g ready %d wanted %d %s: %s", w.now.Sub(start()).Seconds(),
			load, ready, d.Wanted, [...]string{"activating", "active", "inactive"}[w.scaler.state.phase], d.Reason))
		w.last = key
	}
	return d
}

// run drives the world as the engine does: a stat each second, a decision every two, one at once on a request at zero.
func (w *world) run(t *testing.T, o Options, length time.Duration, load func(time.Duration) float64, each func(Decision)) {
	t.Helper()
	w.now = start()
	o.Ready = w.ready
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w.scaler = s
	w.adjust(int(s.state.replicas))
	before := 0.0
	for at := time.Duration(0); at <= length; at += time.Second {
		w.now = start().Add(at)
		now := load(at)
		poke := now > 0 && before == 0 && len(w.started) == 0
		if len(w.started) > 0 || now > 0 {
			s.Record(w.now, metrics.Stat{PodName: "throttle", AverageConcurrentRequests: now, RequestCount: now * w.rps})
		}
		if poke || at%TickInterval == 0 {
			d := w.tick(now)
			if each != nil {
				each(d)
			}
		}
		before = now
	}
}

// between is a load that lasts from one time to another.
func between(from, to time.Duration, load float64) func(time.Duration) float64 {
	return func(at time.Duration) float64 {
		if at >= from && at < to {
			return load
		}
		return 0
	}
}
