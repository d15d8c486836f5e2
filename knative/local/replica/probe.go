package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/serving/pkg/queue/health"
)

// defaultContainerPort is the port of a container that names none, as in Knative.
const defaultContainerPort = 8080

// Kubernetes's defaults of a probe.
const (
	defaultPeriod           = 10 * time.Second
	defaultProbeTimeout     = time.Second
	defaultFailureThreshold = 3
)

// Until its first success, a readiness probe without a period comes often, as in Knative's queue-proxy, whose probe
// comes every 50 ms: first every 10 ms, later every fortieth of the time since the start up to 100 ms. So it adds
// between one and three percent to a cold start, and nothing to the load of a slow one.
const (
	eagerFrom = 10 * time.Millisecond
	eagerTo   = 100 * time.Millisecond
	eagerPart = 40
)

// prober tries a replica once.
type prober struct {
	kind                string // of the probe, for errors
	try                 func(ctx context.Context, timeout time.Duration) error
	delay, period       time.Duration // period 0: eager
	timeout             time.Duration
	failures, successes int // in a row, that count
}

// probes are a replica's. startup and liveness may be nil.
type probes struct {
	startup, readiness, liveness *prober
}

func newProbes(s Spec, port int, env []string) (probes, error) {
	readiness := s.Readiness
	if readiness == nil {
		readiness = &corev1.Probe{}
	}
	var p probes
	var errs [3]error
	p.readiness, errs[0] = newProber("readiness", readiness, s, port, env)
	if s.Startup != nil {
		p.startup, errs[1] = newProber("startup", s.Startup, s, port, env)
	}
	if s.Liveness != nil {
		p.liveness, errs[2] = newProber("liveness", s.Liveness, s, port, env)
	}
	return p, errors.Join(errs[:]...)
}

func newProber(kind string, p *corev1.Probe, s Spec, port int, env []string) (*prober, error) {
	try, err := newTry(p, s, port, env)
	if err != nil {
		return nil, fmt.Errorf("%s probe: %w", kind, err)
	}
	period := seconds(p.PeriodSeconds)
	if period == 0 && kind != "readiness" {
		period = defaultPeriod
	}
	return &prober{
		kind: kind, try: try, delay: seconds(p.InitialDelaySeconds), period: period,
		timeout:   orDefault(seconds(p.TimeoutSeconds), defaultProbeTimeout),
		failures:  int(orDefault(p.FailureThreshold, defaultFailureThreshold)),
		successes: int(orDefault(p.SuccessThreshold, 1)),
	}, nil
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

func orDefault[T int32 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// newTry returns what a probe does. The checks are those of Knative's queue-proxy, always of the replica's own address.
func newTry(p *corev1.Probe, s Spec, port int, env []string) (func(context.Context, time.Duration) error, error) {
	switch {
	case p.HTTPGet != nil:
		if p.HTTPGet.Scheme != "" && p.HTTPGet.Scheme != corev1.URISchemeHTTP {
			return nil, fmt.Errorf("scheme %s is not supported on one machine", p.HTTPGet.Scheme)
		}
		if err := ownPort(p.HTTPGet.Port, s); err != nil {
			return nil, err
		}
		get := *p.HTTPGet
		get.Scheme, get.Host, get.Port = "http", "127.0.0.1", intstr.FromInt(port)
		return func(_ context.Context, timeout time.Duration) error {
			return health.HTTPProbe(health.HTTPProbeConfigOptions{Timeout: timeout, HTTPGetAction: &get, KubeMajor: "1", MaxProtoMajor: 1})
		}, nil
	case p.GRPC != nil:
		if err := ownPort(intstr.FromInt32(p.GRPC.Port), s); err != nil {
			return nil, err
		}
		check := *p.GRPC
		check.Port = int32(port)
		return func(_ context.Context, timeout time.Duration) error {
			return health.GRPCProbe(health.GRPCProbeConfigOptions{Timeout: timeout, GRPCAction: &check, KubeMajor: "1"})
		}, nil
	case p.Exec != nil:
		return newExec(p.Exec.Command, s, env)
	case p.TCPSocket != nil:
		if err := ownPort(p.TCPSocket.Port, s); err != nil {
			return nil, err
		}
	}
	return func(_ context.Context, timeout time.Duration) error {
		return health.TCPProbe(health.TCPProbeConfigOptions{SocketTimeout: timeout, Address: loopback(port)})
	}, nil
}

// ownPort refuses a probe of another port than the replica's: several replicas of one machine cannot all have it.
func ownPort(port intstr.IntOrString, s Spec) error {
	if port.Type == intstr.String || port.IntVal == 0 || port.IntVal == s.ContainerPort {
		return nil
	}
	return fmt.Errorf("port %d is not the container's port %d: leave it out", port.IntVal, s.ContainerPort)
}

// newExec runs a command where the replica runs.
func newExec(command []string, s Spec, env []string) (func(context.Context, time.Duration) error, error) {
	s.Command = command
	program, err := findProgram(s)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, command[1:]...)
		cmd.Dir, cmd.Env = s.Dir, env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = outputGrace
		out, err := cmd.CombinedOutput()
		if err != nil {
			text := strings.TrimSpace(string(out))
			return fmt.Errorf("%s: %w: %s", command[0], err, text[max(0, len(text)-quoted):])
		}
		return nil
	}, nil
}

// probe follows the replica until ctx ends: startup, then readiness until it is ready, and liveness for all of its life.
func (r *Replica) probe(ctx context.Context, p probes) {
	readyCtx, cancel := context.WithTimeout(ctx, r.spec.ReadyTimeout)
	defer cancel()
	if p.startup != nil {
		if err := p.startup.until(readyCtx, r.started, true); err != nil {
			r.notReady(ctx, readyCtx, err)
			return
		}
	}
	if p.liveness != nil {
		r.probes.Go(func() {
			if err := p.liveness.while(ctx); err != nil {
				r.condemn(err)
			}
		})
	}
	if err := p.readiness.until(readyCtx, r.started, false); err != nil {
		r.notReady(ctx, readyCtx, err)
		return
	}
	r.spec.Log.Debug().Dur("after", time.Since(r.started)).Msg("replica is ready")
	close(r.ready)
}

// notReady kills the replica because a probe did not succeed, unless it has ended already.
func (r *Replica) notReady(ctx, readyCtx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if readyCtx.Err() != nil {
		err = fmt.Errorf("it was not ready within %v: %w", r.spec.ReadyTimeout, err)
	}
	r.condemn(err)
}

// until probes until the probe has succeeded often enough in a row, or returns why it last failed. With limited, too
// many failures in a row end it.
func (p *prober) until(ctx context.Context, started time.Time, limited bool) error {
	good, bad := 0, 0
	last := fmt.Errorf("its %s probe was not due yet", p.kind)
	for wait := p.delay; ; wait = p.wait(started) {
		if !sleep(ctx, wait) {
			return last
		}
		if err := p.try(ctx, p.timeout); err != nil {
			last = fmt.Errorf("its %s probe failed: %w", p.kind, plain(err))
			good, bad = 0, bad+1
			if limited && bad >= p.failures {
				return fmt.Errorf("%d times, %w", bad, last)
			}
			continue
		}
		good, bad = good+1, 0
		if good >= p.successes {
			return nil
		}
	}
}

// while probes until the probe has failed too often in a row. It returns nil when ctx ends.
func (p *prober) while(ctx context.Context) error {
	bad := 0
	for wait := p.delay; sleep(ctx, wait); wait = p.period {
		err := p.try(ctx, p.timeout)
		if err == nil {
			bad = 0
			continue
		}
		if bad++; bad >= p.failures && ctx.Err() == nil {
			return fmt.Errorf("its %s probe failed %d times in a row: %w", p.kind, bad, plain(err))
		}
	}
	return nil
}

// wait is the time to the next try.
func (p *prober) wait(started time.Time) time.Duration {
	if p.period > 0 {
		return p.period
	}
	return min(max(time.Since(started)/eagerPart, eagerFrom), eagerTo)
}

// plain shortens what net/http says of a connection that is refused: the common case, in an error for people.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED) {
		return errors.New("nothing listens on its port " + strconv.Itoa(op.Addr.(*net.TCPAddr).Port))
	}
	return err
}

// sleep waits for d and says whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
