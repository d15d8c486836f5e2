// Package ui is the page on which a load test can be watched and changed while it runs. It serves one person on this
// machine: no request from another site's page is taken.
package ui

import (
	"context"
	"errors"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
)

// Session is a load test that runs.
type Session interface {
	Stop()
	Done() <-chan struct{}
	Wait() (measure.Run, error)
	Snapshot(from int) measure.Run
	States() []attack.State
	Set(load, users int, rate float64) error
}

// Options of a Server. Both functions are needed.
type Options struct {
	// Start begins a run, which ends with ctx.
	Start func(ctx context.Context) (Session, error)
	// Finish is called with each run when it is over, and returns where its report is and what is wrong with the run.
	Finish func(measure.Run) (report string, err error)
}

// Server shows one run after the other.
type Server struct {
	o   Options
	ctx context.Context // of the runs
	wg  sync.WaitGroup

	mu       sync.Mutex
	starting bool
	session  Session
	number   int // of the session, from 1
	report   string
	problem  error // of the last run
}

// New makes a server.
func New(o Options) *Server { return &Server{o: o} }

// ErrRunning says that there is a run already.
var ErrRunning = errors.New("a run is going on: stop it first")

// Serve starts a run and serves the page until ctx ends, which ends the run too. It returns what was wrong with the last
// run.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	s.ctx = ctx
	var g errgroup.Group
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g.Go(func() error { return server.Run(serving, ln, s.handler(), server.Limits{}) })
	if err := s.start(); err != nil {
		end()
		return errors.Join(err, g.Wait())
	}
	<-ctx.Done()
	s.wg.Wait() // the page sees the run end
	end()
	err := g.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.problem, err)
}

// start begins a run.
func (s *Server) start() error {
	s.mu.Lock()
	if s.starting || s.running() {
		s.mu.Unlock()
		return ErrRunning
	}
	s.starting = true
	s.mu.Unlock()
	session, err := s.o.Start(s.ctx) // it may wait for services
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting = false
	if err != nil {
		s.problem = err
		return err
	}
	s.session, s.report, s.problem = session, "", nil
	s.number++
	s.wg.Go(func() {
		run, err := session.Wait()
		report, problem := s.o.Finish(run)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.report, s.problem = report, errors.Join(err, problem)
	})
	return nil
}

// running says whether there is a run; s.mu is held.
func (s *Server) running() bool {
	if s.session == nil {
		return false
	}
	select {
	case <-s.session.Done():
		return false
	default:
		return true
	}
}
