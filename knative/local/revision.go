package local

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/metrics"

	"weir.dev/weir/internal/report"
	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local/autoscale"
	"weir.dev/weir/knative/local/replica"
	"weir.dev/weir/knative/local/throttle"
)

const (
	// reportInterval is how often load is reported: reportInterval of Knative's activator.
	reportInterval = time.Second
	// keptDecisions is how many decisions are kept to explain: ten minutes of them.
	keptDecisions = 300
)

// revision runs one revision. One goroutine, run, owns the fields below loop; others post to it.
type revision struct {
	rev      *servingv1.Revision
	service  string
	builtin  bool // the router: it runs in this process
	throttle *throttle.Throttle
	scaler   *autoscale.Scaler
	engine   *Engine
	output   *logFile
	posts    chan func()
	retire   chan struct{} // closed when the revision is deleted
	retireBy func()
	ended    chan struct{} // closed when run has returned

	// loop
	members     map[string]*member
	wanted      int
	backoff     backoff
	poked       bool      // a request at zero was reported before its time
	reported    time.Time // when load was reported last
	draining    bool
	hurry       chan struct{}    // closed when draining begins
	flush       <-chan time.Time // when to look again whether the queue is empty; nil unless draining
	flushBefore time.Time

	mu      sync.Mutex
	command []string
	view    view
}

// view is what others see of a revision.
type view struct {
	ready, starting, wanted int
	everReady               bool // it has reached its initial scale once
	concurrency, rps        float64
	queued                  int
	batching                []report.Batching
	decisions               []autoscale.Decision
	running                 []member // copies
	failure                 error
}

// newRevision makes a revision that does not run yet. wasReady says that it was ready in an earlier run.
func (e *Engine) newRevision(rev *servingv1.Revision, service string, wasReady bool) (*revision, error) {
	command, err := localCommand(rev)
	if err != nil {
		return nil, err
	}
	r := &revision{
		rev: rev, service: service, engine: e, command: command, builtin: command[0] == knative.CommandRouter,
		posts: make(chan func()), retire: make(chan struct{}), ended: make(chan struct{}), hurry: make(chan struct{}),
		members: map[string]*member{},
	}
	r.view.everReady = wasReady || r.builtin
	r.retireBy = sync.OnceFunc(func() { close(r.retire) })
	if r.builtin {
		return r, nil
	}
	r.scaler, err = autoscale.New(autoscale.Options{Revision: rev, Config: e.cfg, Ready: r.count, Initialized: wasReady})
	if err != nil {
		return nil, fmt.Errorf("revision %s: %w", rev.Name, err)
	}
	r.output = e.store.logFile(rev.Name, e.log)
	r.throttle = throttle.New(throttle.Options{
		Revision:             rev.Name,
		ContainerConcurrency: int(value(rev.Spec.ContainerConcurrency)),
		Timeout:              requestLimit(rev),
	})
	return r, nil
}

func localCommand(rev *servingv1.Revision) ([]string, error) {
	return knative.LocalCommand(&servingv1.RevisionTemplateSpec{ObjectMeta: rev.ObjectMeta, Spec: rev.Spec})
}

// requestLimit is how long a request may take; zero if the revision does not say.
func requestLimit(rev *servingv1.Revision) time.Duration {
	return time.Duration(value(rev.Spec.TimeoutSeconds)) * time.Second
}

func value(p *int64) int64 {
	if p == nil {
		return 0
	}
	return *p
}

// count is what the autoscaler asks for: replicas that answer and those that do not yet.
func (r *revision) count() (ready, notReady int) {
	v := r.look()
	return v.ready, v.starting
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
	r.reported = time.Now()
	r.decide(r.reported)
	stop, retire := ctx.Done(), r.retire
	for !r.draining || len(r.members) > 0 {
		select {
		case <-stop:
			stop = nil
			r.drain(errEnding)
		case <-retire:
			retire = nil
			r.drain(errDeleted)
		case <-r.flush:
			r.drainReplicas()
		case now := <-report.C:
			r.report(now)
		case now := <-tick.C:
			r.decide(now)
		case <-r.throttle.Poke():
			r.poke(time.Now())
		case <-r.backoff.over():
			r.resume()
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
	r.output.close()
}

// post runs f in the loop; after the loop it is dropped.
func (r *revision) post(f func()) {
	select {
	case r.posts <- f:
	case <-r.ended:
	}
}

// report hands the load since the last report to the autoscaler, as Knative's activator does. A request that was
// reported on its arrival is taken off (computeReport of activator/handler/concurrency_reporter.go).
func (r *revision) report(now time.Time) {
	rep := r.throttle.Report(now)
	for name, load := range rep.PerReplica {
		if m := r.members[name]; m != nil {
			m.load = load
		}
	}
	load, count := rep.AverageConcurrency, rep.RequestCount
	// Without replicas and without requests there is nothing to report, as on Knative.
	if len(r.members) > 0 || load > 0 || count > 0 {
		if r.poked {
			load, count = max(0, load-1), max(0, count-1)
		}
		r.record(now, load, count)
	}
	r.poked = false
	elapsed := now.Sub(r.reported)
	r.reported = now
	r.mu.Lock()
	defer r.mu.Unlock()
	r.view.concurrency, r.view.queued = rep.Executing, rep.Queued
	if elapsed > 0 {
		r.view.rps = rep.Finished / elapsed.Seconds()
	}
}

// poke decides at once when a request arrives at a revision that is to have no replica. The request is reported before
// its time, but once until the next report (getOrCreateStat of activator/handler/concurrency_reporter.go).
func (r *revision) poke(now time.Time) {
	if r.wanted > 0 || r.draining {
		return
	}
	if !r.poked {
		r.poked = true
		r.record(now, 1, 1)
	}
	r.decide(now)
}

func (r *revision) record(now time.Time, load, count float64) {
	r.scaler.Record(now, metrics.Stat{PodName: "weir", AverageConcurrentRequests: load, RequestCount: count})
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
	first := !r.view.everReady && r.scaler.Initialized()
	r.view.everReady = r.view.everReady || first
	r.mu.Unlock()
	r.reconcile()
	if first {
		r.engine.revisionReady(r)
	}
}

// spec says what a replica of the revision is.
func (r *revision) spec(name string) replica.Spec {
	c := r.rev.Spec.Containers[0]
	env := make([]string, 0, len(c.Env))
	for _, v := range c.Env {
		env = append(env, v.Name+"="+v.Value)
	}
	r.mu.Lock()
	command := r.command
	r.mu.Unlock()
	return replica.Spec{
		Name: name, Service: r.service, Configuration: r.service, Revision: r.rev.Name,
		Command: command, Dir: c.WorkingDir, Env: env, ContainerPort: port(c),
		Readiness: c.ReadinessProbe, Liveness: c.LivenessProbe, Startup: c.StartupProbe,
		ReadyTimeout: progressDeadline(r.rev),
		Output:       r.output.replica(name),
		Records:      r.engine.store.records(),
		Log:          r.engine.log,
	}
}

// progressDeadline is how long a replica may take to get ready; zero if the revision does not say.
func progressDeadline(rev *servingv1.Revision) time.Duration {
	_, text, _ := serving.ProgressDeadlineAnnotation.Get(rev.Annotations)
	d, err := time.ParseDuration(text)
	if err != nil { // there is none: Prepare has seen to the others
		return 0
	}
	return d
}

func port(c corev1.Container) int32 {
	if len(c.Ports) == 0 {
		return 0
	}
	return c.Ports[0].ContainerPort
}

// moveTo takes the command of the same template read from another folder. Replicas that run go on.
func (r *revision) moveTo(rev *servingv1.Revision) error {
	command, err := localCommand(rev)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.command = command
	return nil
}

// look returns a copy of the view.
func (r *revision) look() view {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view
}
