package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// component is one program that has to run as long as the node does.
type component struct {
	name    string
	program string
	args    []string
}

// supervisor starts components again when they end, and reaps every process that has lost its parent, as PID 1 has to.
type supervisor struct {
	logs string
	env  []string

	mu    sync.Mutex
	ended map[int]chan syscall.WaitStatus // by process
}

func newSupervisor(logs string, env []string) *supervisor {
	return &supervisor{logs: logs, env: env, ended: map[int]chan syscall.WaitStatus{}}
}

// Back-off of a component that ends: Kubernetes' own programs end when what they need is not there yet.
const (
	firstPause = 500 * time.Millisecond
	longPause  = 10 * time.Second
)

// keepUp runs the component until ctx ends.
func (s *supervisor) keepUp(ctx context.Context, c component) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longPause) {
		began := time.Now()
		ended, err := s.start(c)
		if err == nil {
			err = describe(<-ended)
		}
		fmt.Fprintf(os.Stderr, "%s: %v; starting it again\n", c.name, err)
		if time.Since(began) > time.Minute {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func describe(status syscall.WaitStatus) error {
	if status.Signaled() {
		return fmt.Errorf("ended by signal %v", status.Signal())
	}
	return fmt.Errorf("ended with %d", status.ExitStatus())
}

// start starts the component; how it ends comes on the channel.
func (s *supervisor) start(c component) (<-chan syscall.WaitStatus, error) {
	log, err := os.OpenFile(filepath.Join(s.logs, c.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	// Under the lock: reap must not see the process before it is known.
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := os.StartProcess(c.program, append([]string{c.name}, c.args...), &os.ProcAttr{
		Dir: "/", Env: s.env, Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan syscall.WaitStatus, 1)
	s.ended[p.Pid] = ended
	return ended, p.Release()
}

// reap waits for whatever ends: components, and the processes of containers that their shims left behind.
func (s *supervisor) reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.ECHILD):
			<-children
			continue
		case err != nil:
			continue
		}
		s.mu.Lock()
		ended, ok := s.ended[pid]
		delete(s.ended, pid)
		s.mu.Unlock()
		if ok {
			ended <- status
		}
	}
}
