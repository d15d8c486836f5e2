// Package replica runs one replica of a revision as a process: it starts the program, probes it as Kubernetes would,
// and ends it with everything it started. It knows nothing of requests or of how many replicas there should be.
package replica

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/shirou/gopsutil/v4/process"
	corev1 "k8s.io/api/core/v1"
)

// Defaults of Spec.
const (
	defaultGrace        = 30 * time.Second
	defaultReadyTimeout = 600 * time.Second
)

// Spec says what a replica is.
type Spec struct {
	// Name is unique among all replicas of all engines that share Records, for example imagenet-00001-x7k2p.
	Name string
	// Service, Configuration and Revision become K_SERVICE, K_CONFIGURATION and K_REVISION.
	Service, Configuration, Revision string
	// Command is the program and its arguments. A program with a slash is relative to Dir, one without is looked up in
	// PATH.
	Command []string
	// Dir is the working folder; if empty, the engine's.
	Dir string
	// Env is the container's environment, KEY=VALUE. It is added to a small inherited set, TF_CPP_MIN_LOG_LEVEL=2, TF_ENABLE_ONEDNN_OPTS=1,
	// HOST=127.0.0.1, PORT and K_*, and wins over all of it but PORT and K_*.
	Env []string
	// ContainerPort is the port that the manifest gives the container. A probe of it means the replica's own port, as
	// does a probe of no port or of a named one. If zero, 8080.
	ContainerPort int32
	// Readiness, Liveness and Startup are the manifest's probes. A nil Readiness is a TCP connection; the others may
	// be nil.
	Readiness, Liveness, Startup *corev1.Probe
	// Grace is the time from SIGTERM to SIGKILL. If zero, 30 s.
	Grace time.Duration
	// ReadyTimeout is how long the replica may take to get ready before it is killed. If zero, 600 s.
	ReadyTimeout time.Duration
	// Output gets stdout and stderr in whole lines, one Write at a time. If nil, they are dropped.
	Output io.Writer
	// Records is the folder of record files by which Reap finds replicas of an engine that crashed; "" for none.
	Records string
	Log     zerolog.Logger
}

func (s Spec) withDefaults() Spec {
	if s.Grace <= 0 {
		s.Grace = defaultGrace
	}
	if s.ReadyTimeout <= 0 {
		s.ReadyTimeout = defaultReadyTimeout
	}
	if s.Output == nil {
		s.Output = io.Discard
	}
	if s.ContainerPort == 0 {
		s.ContainerPort = defaultContainerPort
	}
	s.Log = s.Log.With().Str("replica", s.Name).Logger()
	return s
}

// Replica is a started replica. Its methods may be called from any goroutine.
type Replica struct {
	spec    Spec
	addr    string
	started time.Time
	forked  time.Duration // how long it took to start the process
	cmd     *exec.Cmd
	usage   *process.Process
	output  *lines

	ready, exited chan struct{}
	probing       context.CancelFunc
	probes        sync.WaitGroup

	mu     sync.Mutex
	asked  bool        // Stop or Kill was called
	reason error       // why it is being killed unasked
	killer *time.Timer // sends SIGKILL after Grace
	gone   bool        // the program was waited for: its process id may mean another process
	err    error
}

// Start starts the program and returns as soon as it runs, before it is ready. Whoever starts a replica has to Stop or
// Kill it and to wait for Exited.
func Start(s Spec) (*Replica, error) {
	s = s.withDefaults()
	if err := validName(s.Name); err != nil {
		return nil, err
	}
	program, err := findProgram(s)
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", s.Name, err)
	}
	port, err := freePort()
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", s.Name, err)
	}
	env := environment(s, port)
	probes, err := newProbes(s, port, env)
	if err != nil {
		return nil, fmt.Errorf("replica %s: %w", s.Name, err)
	}
	r := &Replica{
		spec: s, addr: loopback(port), started: time.Now(), output: newLines(s.Output),
		ready: make(chan struct{}), exited: make(chan struct{}),
	}
	if err := r.exec(program, env); err != nil {
		return nil, fmt.Errorf("replica %s: %w", s.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.probing = cancel
	// Before anyone waits for the process: even one that has ended already can be described until then.
	err = r.writeRecord()
	if err == nil {
		r.probes.Go(func() { r.probe(ctx, probes) })
	}
	go r.wait()
	if err != nil {
		r.Kill()
		<-r.exited
		return nil, fmt.Errorf("replica %s: %w", s.Name, err)
	}
	s.Log.Debug().Int("pid", r.PID()).Str("addr", r.addr).Msg("replica started")
	return r, nil
}

// exec starts the process and the reader of its output.
func (r *Replica) exec(program string, env []string) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = write.Close() }()
	// It lives until Stop or Kill, not as long as whoever starts it.
	cmd := exec.CommandContext(context.Background(), program, r.spec.Command[1:]...)
	cmd.Args[0] = r.spec.Command[0]
	cmd.Dir, cmd.Env = r.spec.Dir, env
	// A file, not a Writer: Wait would not return while a process that the replica started holds the pipe.
	cmd.Stdout, cmd.Stderr = write, write
	// A group of its own: a terminal's Ctrl-C reaches the engine only, and the group can be killed as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := start(cmd); err != nil {
		_ = read.Close()
		return err
	}
	r.cmd, r.forked = cmd, time.Since(r.started)
	r.output.follow(read)
	if p, err := process.NewProcess(int32(cmd.Process.Pid)); err == nil {
		r.usage = p
	}
	return nil
}

// Name returns the replica's name.
func (r *Replica) Name() string { return r.spec.Name }

// Addr returns the replica's address, 127.0.0.1:port.
func (r *Replica) Addr() string { return r.addr }

// Started returns when the start of the replica began.
func (r *Replica) Started() time.Time { return r.started }

// Forked returns how long it took until the replica's program was a process.
func (r *Replica) Forked() time.Duration { return r.forked }

// PID returns the process id of the program, which is its process group's too.
func (r *Replica) PID() int { return r.cmd.Process.Pid }

// Ready returns a channel that is closed once the replica is ready.
func (r *Replica) Ready() <-chan struct{} { return r.ready }

// Exited returns a channel that is closed once the process group is gone and its record removed.
func (r *Replica) Exited() <-chan struct{} { return r.exited }

// Err says, after Exited, why the replica ended: its exit status or signal with its last line of output, or the probe
// it failed. It is nil if Stop or Kill was asked for, and before Exited.
func (r *Replica) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Stop sends SIGTERM now and SIGKILL to the process group after Grace. It returns at once.
func (r *Replica) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = true
	if r.gone || r.killer != nil {
		return
	}
	r.signal(syscall.SIGTERM)
	r.killer = time.AfterFunc(r.spec.Grace, func() {
		r.spec.Log.Warn().Dur("grace", r.spec.Grace).Msg("replica did not end in time and is killed")
		r.Kill()
	})
}

// Kill sends SIGKILL to the process group. It returns at once.
func (r *Replica) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = true
	if !r.gone {
		r.signal(syscall.SIGKILL)
	}
}

// condemn kills the replica for a reason of its own.
func (r *Replica) condemn(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked || r.gone {
		return
	}
	r.reason = reason
	r.signal(syscall.SIGKILL)
}

// signal signals the whole group: with the program, what it started gets the chance to end well. r.mu is held.
func (r *Replica) signal(s syscall.Signal) {
	_ = syscall.Kill(-r.PID(), s) // it fails only if the group is gone
}

// Usage returns the CPU time that the replica's program has used and its resident memory in bytes.
func (r *Replica) Usage() (cpu time.Duration, rss uint64, err error) {
	r.mu.Lock()
	gone := r.gone || r.usage == nil
	r.mu.Unlock()
	if gone {
		return 0, 0, fmt.Errorf("replica %s: %w", r.spec.Name, os.ErrProcessDone)
	}
	times, err := r.usage.Times()
	if err != nil {
		return 0, 0, fmt.Errorf("replica %s: %w", r.spec.Name, err)
	}
	memory, err := r.usage.MemoryInfo()
	if err != nil {
		return 0, 0, fmt.Errorf("replica %s: %w", r.spec.Name, err)
	}
	return time.Duration((times.User + times.System) * float64(time.Second)), memory.RSS, nil
}
