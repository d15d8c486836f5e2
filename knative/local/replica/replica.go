// Package replica runs one replica of a revision as a process: it starts the program, probes it as Kubernetes would,
// and ends it with everything it started. It knows nothing of requests or of how many replicas there should be.
package replica

import (
	"errors"
	"io"
	"time"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
)

// Spec says what a replica is.
type Spec struct {
	// Name is unique among all replicas of all engines that share Records, for example imagenet-00001-x7k2p.
	Name string
	// Service, Configuration and Revision become K_SERVICE, K_CONFIGURATION and K_REVISION.
	Service, Configuration, Revision string
	// Command is the program and its arguments. A program without a slash is looked up in PATH.
	Command []string
	// Dir is the working folder; if empty, the engine's.
	Dir string
	// Env is the container's environment, KEY=VALUE. It is added to a small inherited set, PORT, K_* and
	// TF_CPP_MIN_LOG_LEVEL=2, and wins over all of it but PORT and K_*.
	Env []string
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

// Replica is a started replica. Its methods may be called from any goroutine.
type Replica struct{}

// Start starts the program and returns as soon as it runs, before it is ready.
func Start(s Spec) (*Replica, error) { return nil, errors.ErrUnsupported }

// Name returns the replica's name.
func (r *Replica) Name() string { return "" }

// Addr returns the replica's address, 127.0.0.1:port.
func (r *Replica) Addr() string { return "" }

// PID returns the process id of the program, which is its process group's too.
func (r *Replica) PID() int { return 0 }

// Ready returns a channel that is closed once the replica is ready.
func (r *Replica) Ready() <-chan struct{} { return nil }

// Exited returns a channel that is closed once the process group is gone and its record removed.
func (r *Replica) Exited() <-chan struct{} { return nil }

// Err says, after Exited, why the replica ended: its exit status or signal with its last line of output, or the probe
// it failed. It is nil if Stop or Kill was asked for, and before Exited.
func (r *Replica) Err() error { return nil }

// Stop sends SIGTERM now and SIGKILL to the process group after Grace. It returns at once.
func (r *Replica) Stop() {}

// Kill sends SIGKILL to the process group. It returns at once.
func (r *Replica) Kill() {}

// Usage returns the CPU time that the replica's program has used and its resident memory in bytes.
func (r *Replica) Usage() (cpu time.Duration, rss uint64, err error) {
	return 0, 0, errors.ErrUnsupported
}

// Reap ends the replicas that an engine which crashed has left behind, found by their records in the folder, and
// removes the records. It returns how many it ended.
func Reap(records string, log zerolog.Logger) (ended int, err error) { return 0, errors.ErrUnsupported }
