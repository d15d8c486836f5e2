package local

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/knative"
)

// TestKilledReplica: a replica that is killed under load costs nothing but 503s, and is replaced.
func TestKilledReplica(t *testing.T) {
	t.Parallel()
	for name, replicas := range map[string]int{"one of two": 2, "the only one": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, t.TempDir())
			w.apply(helperService("a", "serve", minScale(replicas), scale(replicas, replicas)))
			full := func() bool { return revisionOf(w.service("a"), "a-00001").Ready == replicas }
			await(t, "all replicas", full)
			victim, _ := w.must("a-00001", "/")
			l := w.callers(4, "/work?ms=5", func() string { return "a-00001" })
			await(t, "load", func() bool { return l.answered("serve") > 50 })
			if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			await(t, "the replica is missed", func() bool { return !alive(victim) })
			await(t, "all replicas again", full)
			before := l.answered("serve")
			await(t, "load goes on", func() bool { return l.answered("serve") > before+50 })
			l.end()
			for _, err := range l.failed() {
				if !errors.Is(err, knative.ErrLost) && !errors.Is(err, knative.ErrNotReady) {
					t.Errorf("a request failed: %v", err)
				}
			}
			t.Logf("%d answered, %d failed", l.answered("serve"), len(l.failed()))
		})
	}
}

// TestCrashLoop: a request that kills every replica fails, and replicas are not started without end.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "serve"))
	w.awaitReady("a")
	for {
		_, _, err := ask(t.Context(), w, "a-00001", "/crash")
		if errors.Is(err, knative.ErrNotReady) {
			break
		}
		if !errors.Is(err, knative.ErrLost) {
			t.Fatalf("a crash is %v", err)
		}
	}
	// Requests learn it from the replica's end, the status a moment later.
	await(t, "the status says why", func() bool {
		r := revisionOf(w.service("a"), "a-00001")
		return r.State == knative.StateFailed && strings.Contains(r.Message, "exit status 7")
	})
	await(t, "it is started again", func() bool { return revisionOf(w.service("a"), "a-00001").State == knative.StateReady })
	if s := w.service("a"); !s.Ready || s.Message != "" {
		t.Errorf("status is %+v", s)
	}
	w.must("a-00001", "/")
}

// TestDoesNotStart: a revision whose replicas do not get ready says why, to requests too, and harms no other.
func TestDoesNotStart(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		bad  string
		svc  string // the command; empty: the helper that exits
		want string
	}{
		{name: "no program", svc: "/no/such/program", want: "/no/such/program"},
		{name: "it exits", want: "the model has no signature"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, t.TempDir())
			bad := helperService("bad", "exits")
			if test.svc != "" {
				bad.Spec.Template.Annotations[knative.AnnotationLocalCommand] = test.svc
			}
			w.apply(bad)
			w.apply(helperService("good", "serve"))
			w.awaitReady("good")
			await(t, "bad failed", func() bool { return revisionOf(w.service("bad"), "bad-00001").State == knative.StateFailed })
			s := w.service("bad")
			if s.Ready || !strings.Contains(s.Message, test.want) {
				t.Errorf("want a message with %q: %+v", test.want, s)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, _, err := ask(ctx, w, "bad-00001", "/"); !errors.Is(err, knative.ErrNotReady) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("a request got %v", err)
			}
			w.must("good-00001", "/")
			w.apply(helperService("bad", "serve"))
			w.awaitReady("bad")
			w.must("bad-00002", "/")
		})
	}
}

// TestBackoff follows the times that starts are held off.
func TestBackoff(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := start.Add
	var b backoff
	defer b.release()
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		if got := b.hold(at(0)); got != want*time.Second {
			t.Errorf("failure %d: held off for %v, want %vs", i, got, int(want))
		}
		b.release()
	}
	b = backoff{}
	steps := []struct {
		name         string
		now, started time.Duration
		ready, want  bool
	}{
		{name: "never ready", now: 1 * time.Second, want: false},
		{name: "the first", now: 2 * time.Second, ready: true, want: true},
		{name: "along with the first", now: 3 * time.Second, started: 1 * time.Second, ready: true, want: true},
		{name: "its replacement", now: 4 * time.Second, started: 2500 * time.Millisecond, ready: true, want: false},
		{name: "after a minute of health", now: 70 * time.Second, started: 5 * time.Second, ready: true, want: true},
	}
	for _, s := range steps {
		if got := b.forgive(at(s.now), at(s.started), s.ready); got != s.want {
			t.Errorf("%s: forgiven %v, want %v", s.name, got, s.want)
		}
	}
	b.hold(at(0))
	failures := b.failures
	b.hold(at(0))
	if b.failures != failures || !b.held() {
		t.Error("a failure while starts are held off was counted")
	}
}

// TestPokesCountOnce: however many requests find no replica, the load that is said to be there is one request.
func TestPokesCountOnce(t *testing.T) {
	t.Parallel()
	e := idle(t)
	svc := helperService("a", "serve", scale(0, 100), concurrency(10))
	svc.Spec.Template.Annotations[knative.AnnotationLocalCommand] = "/no/such/program"
	if err := e.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	r := e.revisions["a-00001"]
	now := time.Now()
	r.decide(now)
	if r.wanted != 0 {
		t.Fatalf("%d wanted at first", r.wanted)
	}
	for range 50 {
		r.wanted = 0
		r.poke(now)
	}
	if r.wanted != 1 {
		t.Errorf("%d wanted after many pokes", r.wanted)
	}
	defer r.backoff.release()
}

// TestCommandMoves: the same manifest in another folder makes no revision but means that folder's program.
func TestCommandMoves(t *testing.T) {
	t.Parallel()
	e := idle(t)
	for _, dir := range []string{"/one", "/two"} {
		svc := helperService("a", "serve", annotate(knative.AnnotationLocalCommand, "./program"), annotate(knative.AnnotationLocalDir, dir))
		if err := e.Apply(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.services["a"].Revisions); n != 1 {
		t.Errorf("%d revisions", n)
	}
	if got := e.revisions["a-00001"].spec("x").Command[0]; got != "/two/program" {
		t.Errorf("the program is %s", got)
	}
}

// TestRefuses lists what Apply does not take; nothing of it is kept.
func TestRefuses(t *testing.T) {
	t.Parallel()
	e := idle(t)
	for _, name := range []string{"a", "other"} {
		if err := e.Apply(t.Context(), helperService(name, "serve", named(name+"-one"))); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(e.store.file("a"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, want string
		change     func(*corev1.Container)
		revision   string
		to         string
	}{
		{name: "another template of the same revision name", revision: "a-one", change: func(c *corev1.Container) { c.Image = "weir/other" }, want: "a-one"},
		{name: "another service's revision name", revision: "other-one", want: "other-one"},
		{name: "traffic to no revision", to: "a-nine", want: "a-nine"},
		{name: "a probe that runs a program", change: func(c *corev1.Container) {
			c.ReadinessProbe.HTTPGet, c.ReadinessProbe.Exec = nil, &corev1.ExecAction{Command: []string{"true"}}
		}, want: "readinessProbe"},
	}
	for _, test := range tests {
		svc := helperService("a", "serve")
		svc.Spec.Template.Name = test.revision
		if test.change != nil {
			test.change(&svc.Spec.Template.Spec.Containers[0])
		}
		if test.to != "" {
			traffic(to(test.to, "", 100))(svc)
		}
		if err := e.Apply(t.Context(), svc); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error with %s", test.name, err, test.want)
		}
	}
	if after, err := os.ReadFile(e.store.file("a")); err != nil || string(after) != string(before) {
		t.Errorf("the saved service changed: %v\n%s", err, after)
	}
	if n := len(e.services["a"].Revisions) + len(e.revisions); n != 3 {
		t.Errorf("revisions are %v", e.revisions)
	}
}

// idle is an engine that does not run.
func idle(t *testing.T) *Engine {
	t.Helper()
	e, err := New(Options{StateDir: t.TempDir(), Autoscaler: quick()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}
