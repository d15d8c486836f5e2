package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/metrics"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local/autoscale"
	"weir.dev/weir/knative/local/replica"
	"weir.dev/weir/knative/local/throttle"
)

// A replica that ends by itself is started again after backoffFirst, doubled each time up to backoffMost, as Kubernetes
// does from 10 s to 5 min; a person at one machine waits for less. backoffReset of health forgets the failures.
const (
	backoffFirst = time.Second
	backoffMost  = 30 * time.Second
	backoffReset = time.Minute
)

// reportInterval is how often load is reported: reportInterval of Knative's activator.
const reportInterval = time.Second

// revision runs one revision. One goroutine, run, owns the fields below loop; others post to it.
type revision struct {
	rev      *servingv1.Revision
	service  string
	builtin  bool // the router: it runs in this process
	command  []string
	throttle *throttle.Throttle
	scaler   *autoscale.Scaler
	engine   *Engine
	output   *logFile
	posts    chan func()
	retire   chan struct{} // closed when the revision is deleted
	retireBy func()
	ended    chan struct{} // closed when run has returned

	// loop
	members  map[string]*member
	wanted   int
	failures int
	ahead    float64 // load that a poke has reported before its time
	retry    *time.Timer // when it fires a failed replica may be started again; nil if none failed
	draining bool

	mu   sync.Mutex
	view view
}

// member is a replica with where it is in its life.
type member struct {
	*replica.Replica
	ready    bool
	leaving  bool
	started  time.Time
	inFlight float64
}

// view is what others see of a revision.
type view struct {
	ready, starting, wanted int
	everReady               bool
	report                  throttle.Report
	decisions               []autoscale.Decision
	failure                 error
}

// newRevision makes a revision that does not run yet. wasReady says that it was ready in an earlier run.
func (e *Engine) newRevision(rev *servingv1.Revision, service string, wasReady bool) (*revision, error) {
	r := &revision{
		rev: rev, service: service, engine: e,
		posts: make(chan func()), retire: make(chan struct{}), ended: make(chan struct{}),
		members: map[string]*member{},
		view:    view{everReady: wasReady},
	}
	r.retireBy = sync.OnceFunc(func() { close(r.retire) })
	var err error
	if r.command, err = knative.LocalCommand(&servingv1.RevisionTemplateSpec{ObjectMeta: rev.ObjectMeta, Spec: rev.Spec}); err != nil {
		return nil, err
	}
	if r.builtin = r.command[0] == knative.CommandRouter; r.builtin {
		r.view.everReady = true
		return r, nil
	}
	if r.output, err = e.store.logFile(rev.Name); err != nil {
		return nil, err
	}
	r.throttle = throttle.New(throttle.Options{
		Revision:             rev.Name,
		ContainerConcurrency: int(value(rev.Spec.ContainerConcurrency)),
		Timeout:              time.Duration(value(rev.Spec.TimeoutSeconds)) * time.Second,
	})
	r.scaler, err = autoscale.New(autoscale.Options{Revision: rev, Config: e.cfg, Ready: r.count, Initialized: wasReady})
	return r, err
}

func value(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

// count is what the autoscaler asks for: replicas that answer and those that do not yet.
func (r *revision) count() (ready, notReady int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view.ready, r.view.starting
}

// run is the revision's loop until ctx ends or the revision is retired; then it drains and returns when no replica is
// left.
func (r *revision) run(ctx context.Context) {
	defer close(r.ended)
	if r.builtin {
		select {
		case <-ctx.Done():
		case <-r.retire:
		}
		return
	}
	defer r.close()
	report, tick := time.NewTicker(reportInterval), time.NewTicker(autoscale.TickInterval)
	defer report.Stop()
	defer tick.Stop()
	r.decide(time.Now())
	stop, retire := ctx.Done(), r.retire
	for !r.draining || len(r.members) > 0 {
		var retry <-chan time.Time
		if r.retry != nil {
			retry = r.retry.C
		}
		select {
		case <-stop:
			stop = nil
			r.drain()
		case <-retire:
			retire = nil
			r.drain()
		case now := <-report.C:
			r.report(now, 0)
		case now := <-tick.C:
			r.decide(now)
		case <-r.throttle.Poke():
			now := time.Now()
			r.report(now, 1)
			r.decide(now)
		case <-retry:
			r.retry = nil
			r.throttle.Fail(nil)
			r.reconcile()
		case f := <-r.posts:
			f()
		}
	}
}

// close frees what a revision holds besides replicas.
func (r *revision) close() {
	if r.builtin {
		return
	}
	r.throttle.Close()
	r.scaler.Close()
	if err := r.output.Close(); err != nil {
		r.engine.log.Warn().Err(err).Str("revision", r.rev.Name).Msg("log file")
	}
}

// post runs f in the loop; after the loop it is dropped.
func (r *revision) post(f func()) {
	select {
	case r.posts <- f:
	case <-r.ended:
	}
}

// report hands the load since the last report to the autoscaler, as Knative's activator does. The mean over the moment
// since a request arrived at zero is next to nothing, so that the load is said to be at least what is known; the next
// report says that much less (ConcurrencyReporter of Knative's activator/handler).
func (r *revision) report(now time.Time, known float64) {
	rep := r.throttle.Report(now)
	for name, load := range rep.PerReplica {
		if m := r.members[name]; m != nil {
			m.inFlight = load
		}
	}
	load := max(rep.AverageConcurrency-r.ahead, known, 0)
	r.ahead = max(0, load-rep.AverageConcurrency)
	// Without replicas and without requests there is nothing to report, as on Knative.
	if len(r.members) > 0 || load > 0 || rep.RequestCount > 0 {
		r.scaler.Record(now, metrics.Stat{PodName: "weir", AverageConcurrentRequests: load, RequestCount: rep.RequestCount})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.report = rep
}

// decide asks the autoscaler how many replicas there should be, and sees to it.
func (r *revision) decide(now time.Time) {
	if r.draining {
		return
	}
	d := r.scaler.Tick(now)
	if d.Wanted != r.wanted {
		r.engine.log.Info().Str("revision", r.rev.Name).Int("from", r.wanted).Int("to", d.Wanted).Str("why", d.Reason).Msg("scale")
	}
	r.wanted = d.Wanted
	r.mu.Lock()
	r.view.decisions = append(r.view.decisions[max(0, len(r.view.decisions)-keptDecisions+1):], d)
	r.mu.Unlock()
	r.reconcile()
}

// keptDecisions is how many decisions are kept to explain: ten minutes of them.
const keptDecisions = 300

// reconcile starts and ends replicas until there are as many as wanted.
func (r *revision) reconcile() {
	defer r.publish()
	staying := 0
	for _, m := range r.members {
		if !m.leaving {
			staying++
		}
	}
	for ; staying > r.wanted; staying-- {
		r.dismiss(r.leastUseful())
	}
	for ; staying < r.wanted && r.retry == nil && !r.draining; staying++ {
		if err := r.spawn(); err != nil {
			r.failed(err)
			return
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
	case a.inFlight != b.inFlight:
		return a.inFlight < b.inFlight
	}
	return a.started.After(b.started)
}

// spawn starts one replica and watches it.
func (r *revision) spawn() error {
	name := fmt.Sprintf("%s-%s", r.rev.Name, strings.ToLower(rand.Text()[:5]))
	rep, err := replica.Start(r.spec(name))
	if err != nil {
		return err
	}
	m := &member{Replica: rep, started: time.Now()}
	r.members[name] = m
	r.engine.wg.Go(func() {
		select {
		case <-rep.Ready():
			r.post(func() { r.nowReady(m) })
		case <-rep.Exited():
		}
		<-rep.Exited()
		r.post(func() { r.exited(m) })
	})
	return nil
}

func (r *revision) spec(name string) replica.Spec {
	c := r.rev.Spec.Containers[0]
	env := make([]string, 0, len(c.Env))
	for _, v := range c.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	return replica.Spec{
		Name: name, Service: r.service, Configuration: r.service, Revision: r.rev.Name,
		Command: r.command, Dir: c.WorkingDir, Env: env, ContainerPort: port(c),
		Readiness: c.ReadinessProbe, Liveness: c.LivenessProbe, Startup: c.StartupProbe,
		Output:  r.output.replica(name),
		Records: r.engine.store.records(),
		Log:     r.engine.log,
	}
}

func port(c corev1.Container) int32 {
	if len(c.Ports) == 0 {
		return 0
	}
	return c.Ports[0].ContainerPort
}

// nowReady lets a replica take requests.
func (r *revision) nowReady(m *member) {
	if m.leaving {
		return
	}
	m.ready = true
	r.throttle.Add(m.Name(), m.Addr())
	r.mu.Lock()
	r.view.failure = nil
	first := !r.view.everReady
	r.view.everReady = true
	r.mu.Unlock()
	r.publish()
	if first {
		r.engine.revisionReady(r)
	}
	r.engine.log.Info().Str("replica", m.Name()).Dur("ms", time.Since(m.started)).Msg("replica ready")
}

// exited forgets a replica; one that nobody ended counts as a failure.
func (r *revision) exited(m *member) {
	delete(r.members, m.Name())
	r.throttle.Lost(m.Name())
	err := m.Err()
	switch {
	case m.leaving || err == nil:
	case m.ready && time.Since(m.started) > backoffReset:
		r.failures = 0
		fallthrough
	default:
		r.failed(err)
	}
	r.reconcile()
}

// failed holds off the next start and says why.
func (r *revision) failed(err error) {
	wait := min(backoffFirst<<min(r.failures, 10), backoffMost)
	r.failures++
	r.retry = time.NewTimer(wait)
	r.mu.Lock()
	r.view.failure = err
	r.mu.Unlock()
	r.throttle.Fail(err)
	r.engine.log.Error().Err(err).Str("revision", r.rev.Name).Dur("retry_ms", wait).Msg("replica failed")
	r.publish()
	r.engine.notify()
}

// dismiss ends a replica once its requests are done.
func (r *revision) dismiss(m *member) {
	m.leaving = true
	drained, limit := r.throttle.Remove(m.Name()), r.drainLimit()
	r.engine.wg.Go(func() {
		select {
		case <-drained:
		case <-m.Exited():
		case <-time.After(limit):
		}
		m.Stop()
	})
}

// drainLimit is how long a replica's requests may go on after it was dismissed: as long as a request may take, at the
// engine's end as long as its drain.
func (r *revision) drainLimit() time.Duration {
	if t := value(r.rev.Spec.TimeoutSeconds); t > 0 && !r.draining {
		return time.Duration(t) * time.Second
	}
	return r.engine.o.Drain
}

// drain dismisses all replicas and starts no more.
func (r *revision) drain() {
	r.draining = true
	r.wanted = 0
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
	for _, m := range r.members {
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
	r.view.ready, r.view.starting, r.view.wanted = ready, starting, r.wanted
	r.mu.Unlock()
	if was != (ready > 0) {
		r.engine.notify()
	}
}

// look returns a copy of the view.
func (r *revision) look() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view
}

// stop ends the revision for good and waits for its replicas to be gone.
func (r *revision) stop(ctx context.Context) error {
	r.retireBy()
	select {
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("revision %s still drains", r.rev.Name), ctx.Err())
	}
}
