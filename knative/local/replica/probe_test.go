package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func portOf(n int) intstr.IntOrString { return intstr.FromInt(n) }

// TestProbeTimes follows a probe's calls in virtual time.
func TestProbeTimes(t *testing.T) {
	const ms, sec = time.Millisecond, time.Second
	tests := []struct {
		name    string
		p       prober
		limited bool
		good    []bool // what the tries give
		want    []time.Duration
		wantErr string
	}{
		{name: "eager", p: prober{successes: 1}, good: []bool{false, false, true}, want: []time.Duration{0, 10 * ms, 20 * ms}},
		{name: "eager after a delay", p: prober{successes: 1, delay: 2 * sec}, good: []bool{false, false, true},
			want: []time.Duration{2 * sec, 2050 * ms, 2101250 * time.Microsecond}},
		{name: "eager at most every 100 ms", p: prober{successes: 1, delay: 20 * sec}, good: []bool{false, true},
			want: []time.Duration{20 * sec, 20*sec + 100*ms}},
		{name: "a period", p: prober{successes: 1, delay: sec, period: 3 * sec}, good: []bool{false, true}, want: []time.Duration{sec, 4 * sec}},
		{name: "successes in a row", p: prober{successes: 2, period: sec}, good: []bool{true, false, true, true},
			want: []time.Duration{0, sec, 2 * sec, 3 * sec}},
		{name: "readiness fails without end", p: prober{successes: 1, failures: 2, period: sec}, good: []bool{false, false, false, true},
			want: []time.Duration{0, sec, 2 * sec, 3 * sec}},
		{name: "startup fails", p: prober{successes: 1, failures: 2, period: sec}, limited: true, good: []bool{false, false},
			want: []time.Duration{0, sec}, wantErr: "2 times"},
		{name: "startup fails now and then", p: prober{successes: 2, failures: 2, period: sec}, limited: true,
			good: []bool{false, true, false, true, true}, want: []time.Duration{0, sec, 2 * sec, 3 * sec, 4 * sec}},
		{name: "time is up", p: prober{successes: 1, period: 50 * sec}, good: []bool{false, false}, want: []time.Duration{0, 50 * sec}, wantErr: "probe failed: no"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				from := time.Now()
				var at []time.Duration
				tt.p.try = func(context.Context, time.Duration) error {
					at = append(at, time.Since(from))
					if tt.good[len(at)-1] {
						return nil
					}
					return errors.New("no")
				}
				err := tt.p.until(ctx, from, tt.limited)
				if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				if len(at) != len(tt.want) {
					t.Fatalf("tried at %v, want %v", at, tt.want)
				}
				for i := range at {
					if at[i] != tt.want[i] {
						t.Errorf("try %d at %v, want %v", i, at[i], tt.want[i])
					}
				}
			})
		})
	}
}

func TestLivenessTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now()
		tries := 0
		p := prober{kind: "liveness", delay: 5 * time.Second, period: 2 * time.Second, failures: 3,
			try: func(context.Context, time.Duration) error {
				if tries++; tries == 3 { // two failures before it do not count
					return nil
				}
				return errors.New("no answer")
			}}
		err := p.while(t.Context())
		if want := "its liveness probe failed 3 times in a row: no answer"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		if d := time.Since(from); d != 15*time.Second {
			t.Errorf("after %v, want 15 s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		if err := p.while(ctx); err != nil {
			t.Errorf("after its end: %v", err)
		}
	})
}

func TestProbeDefaults(t *testing.T) {
	s := Spec{}.withDefaults()
	p, err := newProber("liveness", &corev1.Probe{}, s, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.period != 10*time.Second || p.timeout != time.Second || p.failures != 3 || p.successes != 1 {
		t.Errorf("liveness %+v", p)
	}
	p, err = newProber("readiness", &corev1.Probe{PeriodSeconds: 4, TimeoutSeconds: 2, FailureThreshold: 5, SuccessThreshold: 6, InitialDelaySeconds: 7}, s, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.period != 4*time.Second || p.timeout != 2*time.Second || p.failures != 5 || p.successes != 6 || p.delay != 7*time.Second {
		t.Errorf("readiness %+v", p)
	}
}

func TestReadinessKinds(t *testing.T) {
	t.Parallel()
	http := func(port intstr.IntOrString) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "readyz?full=1", Port: port, Scheme: corev1.URISchemeHTTP}}
	}
	tests := []struct {
		name string
		p    *corev1.Probe
	}{
		{"none", nil},
		{"empty", &corev1.Probe{}},
		{"tcp", &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}},
		{"http", &corev1.Probe{ProbeHandler: http(intstr.IntOrString{})}},
		{"http, container's port", &corev1.Probe{ProbeHandler: http(portOf(8080))}},
		{"http, named port", &corev1.Probe{ProbeHandler: http(intstr.FromString("http1"))}},
		{"exec", &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", `test -n "$PORT" && test "$K_SERVICE" = imagenet`}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "serve")
			s.Readiness = tt.p
			within(t, "readiness", run(t, s).Ready())
		})
	}
}

func TestReadyOnlyWhenTheProbeSays(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ready")
	s := spec(t, "not ready until a file is there")
	s.Env = append(s.Env, "READY_FILE="+file)
	s.Readiness = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}}
	r := run(t, s)
	// It listens, so that a TCP probe of another one would be content.
	tcp, err := newProber("readiness", &corev1.Probe{}, r.spec, portNumber(t, r), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := tcp.until(t.Context(), time.Now(), false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Ready():
		t.Fatal("ready before the probe succeeded")
	default:
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	within(t, "readiness", r.Ready())
}

func TestFailedProbes(t *testing.T) {
	t.Parallel()
	get := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/"}}
	failing := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo disk is full; exit 4"}}}, FailureThreshold: 1}
	hanging := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "sleep 1000; true"}}}, FailureThreshold: 1}
	tests := []struct {
		name, kind string
		change     func(*Spec)
		want       []string
	}{
		{"not ready in time", "not ready until a file is there", func(s *Spec) { s.Readiness, s.ReadyTimeout = &corev1.Probe{ProbeHandler: get}, 300*time.Millisecond },
			[]string{"was killed: it was not ready within 300ms: its readiness probe failed:"}},
		{"liveness", "sickens", func(s *Spec) {
			s.Liveness = &corev1.Probe{ProbeHandler: get, InitialDelaySeconds: 1, PeriodSeconds: 1, TimeoutSeconds: 60, FailureThreshold: 1}
		}, []string{"was killed: its liveness probe failed 1 times in a row:", "503"}},
		{"startup", "serve", func(s *Spec) { s.Startup = failing }, []string{"startup probe failed: sh: exit status 4: disk is full"}},
		{"startup hangs", "serve", func(s *Spec) { s.Startup = hanging }, []string{"startup probe failed: sh: signal: killed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, tt.kind)
			s.Env = append(s.Env, "READY_FILE=/does/not/exist")
			tt.change(&s)
			r := run(t, s)
			within(t, "exit", r.Exited())
			for _, want := range tt.want {
				if err := r.Err(); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want …%s…", err, want)
				}
			}
		})
	}
}
