package local

import (
	"os"
	"sync"
	"testing"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// TestColdStart: at zero replicas a request starts one and is answered by it; then all is idle again.
func TestColdStart(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "serve", scale(0, 3)))
	await(t, "idle without a start", func() bool {
		s := w.service("a")
		return s.Ready && revisionOf(s, "a-00001").State == knative.StateIdle
	})
	if left := records(t, w.dir); len(left) > 0 {
		t.Errorf("replicas were started: %v", left)
	}
	// Several at once still need one replica only.
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			if _, _, err := ask(t.Context(), w, "a-00001", "/"); err != nil {
				t.Error(err)
			}
		})
	}
	pid, header := w.must("a-00001", "/")
	g.Wait()
	if got := header.Get(knative.HeaderColdStart); got != "true" {
		t.Errorf("%s is %q", knative.HeaderColdStart, got)
	}
	if got := header.Get(knative.HeaderRevision); got != "a-00001" {
		t.Errorf("%s is %q", knative.HeaderRevision, got)
	}
	if n := len(records(t, w.dir)); n != 1 {
		t.Errorf("%d replicas for a few requests", n)
	}
	if again, header := w.must("a-00001", "/"); again != pid || header.Get(knative.HeaderColdStart) != "" {
		t.Errorf("another replica, %d after %d, or a cold start again: %v", again, pid, header)
	}
	await(t, "back to zero", func() bool {
		r := revisionOf(w.service("a"), "a-00001")
		return r.State == knative.StateIdle && r.Wanted == 0 && !alive(pid)
	})
}

// TestScaleUpAndDown: sixteen callers get more replicas and no failure, and their end none.
func TestScaleUpAndDown(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "serve", scale(0, 4), concurrency(2)))
	l := w.callers(16, "/work?ms=20", func() string { return "a-00001" })
	await(t, "four replicas", func() bool { return revisionOf(w.service("a"), "a-00001").Ready == 4 })
	await(t, "load is seen", func() bool {
		r := revisionOf(w.service("a"), "a-00001")
		return r.RPS > 100 && r.Concurrency > 6 && r.Queue > 0
	})
	l.end()
	if errs := l.failed(); len(errs) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(errs), errs[0])
	}
	await(t, "back to zero", func() bool {
		r := revisionOf(w.service("a"), "a-00001")
		return r.Ready == 0 && r.State == knative.StateIdle && r.RPS == 0 && len(records(t, w.dir)) == 0
	})
	decisions, err := w.Decisions("a-00001")
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for _, d := range decisions {
		most = max(most, d.Wanted)
		if d.Reason == "" {
			t.Errorf("a decision without a reason: %+v", d)
		}
	}
	if most != 4 {
		t.Errorf("at most %d replicas were wanted, max-scale is 4", most)
	}
}

// TestEndLeavesNothing: at the engine's end requests that are here finish and no process is left.
func TestEndLeavesNothing(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	hold := newTickets(t)
	hold.give(t, 2)
	w.apply(helperService("a", "serve", minScale(2), concurrency(1), hold.needed))
	await(t, "two replicas", func() bool { return revisionOf(w.service("a"), "a-00001").Ready == 2 })
	pid, _ := w.must("a-00001", "/")
	// Two at the replicas, two in the queue.
	answers := make(chan error, 4)
	for range 4 {
		go func() {
			_, _, err := ask(t.Context(), w, "a-00001", "/held?ms=500")
			answers <- err
		}()
	}
	await(t, "two wait", func() bool { return revisionOf(w.service("a"), "a-00001").Queue == 2 })
	hold.give(t, 4)
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := soon.Next(t, "an answer", answers); err != nil {
			t.Error(err)
		}
	}
	if alive(pid) {
		t.Errorf("process %d lives", pid)
	}
	if _, err := os.Stat(w.dir + "/engine.json"); !os.IsNotExist(err) {
		t.Errorf("engine.json is left: %v", err)
	}
}
