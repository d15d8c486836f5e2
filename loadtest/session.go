package loadtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"weir.dev/weir/internal/frugal"
	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/scenario"
)

const (
	// deadAfter is how many seconds without any answer end a run.
	deadAfter = 5
	// observeLimit bounds one look at the engine.
	observeLimit = 5 * time.Second
	// before is how far the first look goes back.
	before = 10 * time.Second
)

// Options say what to run against what.
type Options struct {
	Scenario *scenario.Scenario
	// Engine runs the models; nil if the scenario's targets are all URLs. If it is a knative.Observer, the report has
	// decisions and what the replicas use.
	Engine knative.Engine
	// EngineName is its kind, for the report: local or cluster.
	EngineName string
	// Address is where weir's router serves: host:port or a URL.
	Address string
	// At is the host:port that takes the requests for Address: a cluster's ingress. If empty, Address itself.
	At string
	// Registry is where the images weir/NAME of the scenario's services are. If empty, they are left as they are.
	Registry string
	// Asked says that a person gave Address or At: no load goes there unless it is this machine or in AllowHosts. What the engine
	// itself says is known.
	Asked bool
	// AllowHosts are hosts besides this machine that load may be sent to.
	AllowHosts []string
	Version    string
	// Row is called every second with the second that has passed. If nil, nobody is told.
	Row func(measure.Row, []attack.State)
}

// Session is a load test that runs. Its methods may be called from any goroutine.
type Session struct {
	o          Options
	recorder   *measure.Recorder
	generators []*attack.Generator
	stop       context.CancelFunc
	done       chan struct{}
	run        measure.Run
	err        error

	mu      sync.Mutex
	seen    *knative.Observation
	cleanup []string // services to delete
}

// Start checks where the load goes, applies the scenario's services and waits for them, and begins.
func Start(ctx context.Context, o Options) (*Session, error) {
	s := &Session{o: o, done: make(chan struct{})}
	guard := attack.Guard{Allowed: slices.Clone(o.AllowHosts)}
	for _, known := range []string{o.Address, o.At} {
		if known != "" && !o.Asked {
			guard.Allowed = append(guard.Allowed, hostOf(known))
		}
	}
	for _, l := range o.Scenario.Loads {
		if l.Target.URL == "" && o.Address == "" {
			return nil, fmt.Errorf("load %s is for a model: start weir first (weir up -f knative/)", l.Name)
		}
		url := attack.URL(l.Target, o.Address)
		at := ""
		if l.Target.URL == "" {
			at = o.At
		}
		if err := guard.Check(ctx, url, at); err != nil {
			return nil, err
		}
		g, err := attack.New(l, attack.Options{URL: url, At: at, Guard: guard, Done: func(shot attack.Shot) { s.recorder.Add(shot) }})
		if err != nil {
			return nil, err
		}
		s.generators = append(s.generators, g)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.clean(ctx))
	}
	s.recorder = measure.NewRecorder(measure.Run{
		Scenario: o.Scenario.Name, Look: o.Scenario.Look, Engine: cmp.Or(o.EngineName, "none"), Version: o.Version,
		Started: time.Now(), CPUs: runtime.NumCPU(), Targets: o.Scenario.Models(),
	})
	for _, l := range o.Scenario.Loads {
		var stages []string
		for _, stage := range l.Stages {
			stages = append(stages, stage.Name)
		}
		s.recorder.Expect(l.Name, stages...)
	}
	runCtx, stop := context.WithCancel(ctx)
	s.stop = stop
	go s.loop(ctx, runCtx)
	return s, nil
}

func hostOf(address string) string {
	_, after, ok := strings.Cut(address, "://")
	if !ok {
		after = address
	}
	after, _, _ = strings.Cut(after, "/")
	if host, _, err := net.SplitHostPort(after); err == nil {
		return host
	}
	return after
}

// Stop ends the load; requests on their way finish.
func (s *Session) Stop() { s.stop() }

// Done is closed when the run is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Wait returns the run when it is over. The error says that services could not be changed; the run is whole.
func (s *Session) Wait() (measure.Run, error) {
	<-s.done
	return s.run, s.err
}

// Snapshot returns the run so far with the rows after index from.
func (s *Session) Snapshot(from int) measure.Run {
	select {
	case <-s.done:
		run := s.run
		run.Rows = run.Rows[min(max(from, 0), len(run.Rows)):]
		return run
	default:
		return s.recorder.Snapshot(from)
	}
}

// States is what each load does now.
func (s *Session) States() []attack.State {
	all := make([]attack.State, 0, len(s.generators))
	for _, g := range s.generators {
		all = append(all, g.State())
	}
	return all
}

// Set changes the users or the rate of a load, by its index, until they are changed again or the run ends.
func (s *Session) Set(load, users int, rate float64) error {
	if load < 0 || load >= len(s.generators) {
		return fmt.Errorf("there is no load %d", load)
	}
	if err := scenario.CheckLoad(users, rate); err != nil {
		return err
	}
	s.generators[load].Set(users, rate)
	return nil
}

// loop runs the loads, and every second writes a row. outer ends at Ctrl-C, ctx at Stop as well.
func (s *Session) loop(outer, ctx context.Context) {
	defer close(s.done)
	defer s.stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	watching, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching) })
	watch.Go(func() { s.change(ctx) })
	loads := make(chan struct{})
	go func() {
		defer close(loads)
		var wg sync.WaitGroup
		for _, g := range s.generators {
			wg.Go(func() { g.Run(ctx) })
		}
		wg.Wait()
	}()
	sender := frugal.NewMeter(time.Second / 2)
	var tail <-chan time.Time
	over := loads
	for running := true; running; {
		select {
		case now := <-tick.C:
			s.tick(now, sender.Processors())
		case <-over:
			over = nil
			tail = time.After(s.o.Scenario.Tail)
			if ctx.Err() != nil {
				tail = time.After(0)
			}
		case <-tail:
			running = false
		}
		if tail != nil && ctx.Err() != nil {
			running = false
		}
	}
	if now := time.Now(); s.recorder.Pending(now) {
		s.tick(now, sender.Processors())
	}
	if ctx.Err() != nil && s.recorder.Silent() < deadAfter {
		s.recorder.Note("The run was ended before its time.")
	}
	s.stop()
	unwatch()
	watch.Wait()
	s.run = s.recorder.Finish(s.o.Scenario.Thresholds)
	s.err = errors.Join(s.err, s.clean(context.WithoutCancel(outer)))
}

// tick writes a row, and ends the run if the target is dead.
func (s *Session) tick(now time.Time, processors float64) {
	s.mu.Lock()
	seen := s.seen
	s.mu.Unlock()
	states := s.States()
	row := s.recorder.Tick(now, states, seen, processors)
	if s.o.Row != nil {
		s.o.Row(row, states)
	}
	if s.recorder.Silent() == deadAfter {
		s.recorder.Died(fmt.Sprintf("The target died: no request had an answer for %d seconds, and the run was ended at %.0f s.", deadAfter, row.T))
		s.stop()
	}
}

// watch looks at the engine every second.
func (s *Session) watch(ctx context.Context) {
	if s.o.Engine == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	lost := false
	since := time.Now().Add(-before) // the first look tells from what number of replicas the first decision goes
	for {
		seen, err := s.observe(ctx, since)
		switch {
		case err == nil:
			lost, since = false, seen.Time
		case ctx.Err() == nil && !lost:
			lost = true
			s.recorder.Note(fmt.Sprintf("The engine did not answer at %.0f s: %v.", time.Since(s.recorder.Started()).Seconds(), err))
		}
		s.mu.Lock()
		s.seen = seen
		s.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Session) observe(ctx context.Context, since time.Time) (*knative.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	if o, ok := s.o.Engine.(knative.Observer); ok {
		seen, err := o.Observe(ctx, since)
		if err != nil {
			return nil, err
		}
		return &seen, nil
	}
	services, err := s.o.Engine.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &knative.Observation{Time: time.Now(), Services: services}, nil
}
