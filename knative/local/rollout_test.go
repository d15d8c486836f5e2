package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// follow keeps where the traffic goes, as the router does.
func (w *world) follow(service string) (where func() string) {
	var target atomic.Value
	read := func() {
		for _, r := range w.service(service).Revisions {
			if r.Percent == 100 {
				target.Store(r.Name)
			}
		}
	}
	read()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			changed := w.Changed()
			read()
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return func() string { return target.Load().(string) }
}

// TestRollout: under load a new revision takes over once its initial scale is ready; no request fails, and the old
// one goes although it has a min-scale.
func TestRollout(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "v1", minScale(1), scale(1, 2)))
	w.awaitReady("a")
	l := w.callers(4, "/work?ms=5", w.follow("a"))
	await(t, "load", func() bool { return l.answered("v1") > 20 })

	starts := newTickets(t)
	w.apply(helperService("a", "v2", minScale(2), scale(2, 2), starts.needed))
	for ready := range 2 {
		await(t, "replicas of the new revision", func() bool { return revisionOf(w.service("a"), "a-00002").Ready == ready })
		before := l.answered("v1")
		await(t, "load goes on", func() bool { return l.answered("v1") > before+20 })
		s := w.service("a")
		if old, young := revisionOf(s, "a-00001"), revisionOf(s, "a-00002"); old.Percent != 100 || young.Percent != 0 || s.Ready || l.answered("v2") > 0 {
			t.Errorf("before the new revision has its initial scale: %+v, %d requests answered by it", s, l.answered("v2"))
		}
		starts.give(t, 1)
	}
	await(t, "the new revision answers", func() bool { return l.answered("v2") > 20 })
	if s := w.service("a"); !s.Ready || revisionOf(s, "a-00002").Percent != 100 {
		t.Errorf("after: %+v", s)
	}
	await(t, "the old revision is gone", func() bool { return len(records(t, w.dir)) == 2 && revisionOf(w.service("a"), "a-00001").Ready == 0 })
	l.end()
	if errs := l.failed(); len(errs) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(errs), errs[0])
	}
}

// TestFailedRollout: a new revision that does not start leaves the traffic where it is.
func TestFailedRollout(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "serve"))
	w.awaitReady("a")
	w.apply(helperService("a", "exits"))
	await(t, "the new revision failed", func() bool { return revisionOf(w.service("a"), "a-00002").State == knative.StateFailed })
	s := w.service("a")
	if s.Ready || revisionOf(s, "a-00001").Percent != 100 || !strings.Contains(s.Message, "a-00002") {
		t.Errorf("status is %+v", s)
	}
	w.must("a-00001", "/")
}

// TestAfterAFailedFirst: what was never ready keeps no traffic from the first revision that may be; until that is ready
// requests wait for it.
func TestAfterAFailedFirst(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "exits"))
	await(t, "the first revision failed", func() bool { return revisionOf(w.service("a"), "a-00001").State == knative.StateFailed })
	if r := revisionOf(w.service("a"), "a-00001"); !r.NeverReady || r.Percent != 100 {
		t.Errorf("the first: %+v", r)
	}
	w.apply(helperService("a", "serve"))
	if r := revisionOf(w.service("a"), "a-00002"); r.Percent != 100 {
		t.Errorf("the second, at once: %+v", r)
	}
	w.must("a-00002", "/")
	if r := revisionOf(w.service("a"), "a-00002"); r.Percent != 100 {
		t.Errorf("the second: %+v", r)
	}
	w.awaitReady("a")
	if r := revisionOf(w.service("a"), "a-00002"); r.NeverReady {
		t.Errorf("the second, ready: %+v", r)
	}
}

// TestTag: a revision at 0 % with a tag is there, at zero replicas as well.
func TestTag(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("m", "lite0", named("m-lite0"), scale(0, 1)))
	w.awaitReady("m")
	w.apply(helperService("m", "lite2", named("m-lite2"), scale(0, 1), traffic(to("m-lite0", "lite0", 100), to("m-lite2", "lite2", 0))))
	w.awaitReady("m")
	s := w.service("m")
	type row struct {
		Name    string
		Tags    []string
		Percent int
	}
	var got []row
	for _, r := range s.Revisions {
		got = append(got, row{r.Name, r.Tags, r.Percent})
	}
	want := []row{{"m-lite0", []string{"lite0"}, 100}, {"m-lite2", []string{"lite2"}, 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s.URL != "http://m.default.localhost:8080" || !s.Model {
		t.Errorf("status is %+v", s)
	}
	_, header := w.must("m-lite2", "/")
	if header.Get(knative.HeaderRevision) != "m-lite2" {
		t.Errorf("answered by %v", header)
	}
}

// TestDeleteDrains: requests that are at a replica or wait for one finish; then the service is gone.
func TestDeleteDrains(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	hold := newTickets(t)
	hold.give(t, 1)
	w.apply(helperService("a", "serve", concurrency(1), scale(1, 1), hold.needed))
	w.awaitReady("a")
	pid, _ := w.must("a-00001", "/")
	answers := make(chan error, 3)
	for range 3 {
		go func() {
			_, _, err := ask(context.Background(), w, "a-00001", "/held")
			answers <- err
		}()
	}
	await(t, "two wait", func() bool { return revisionOf(w.service("a"), "a-00001").Queue == 2 })
	changed := w.Changed()
	deleted := make(chan error, 1)
	go func() { deleted <- w.Delete(context.Background(), "a") }()
	soon.Next(t, "a change", changed)
	await(t, "it is listed no more", func() bool { return w.service("a").Name == "" })
	hold.give(t, 3)
	for range 3 {
		if err := soon.Next(t, "an answer", answers); err != nil {
			t.Error(err)
		}
	}
	if err := soon.Next(t, "the deletion's end", deleted); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Errorf("process %d lives", pid)
	}
	if _, _, err := ask(t.Context(), w, "a-00001", "/"); !errors.Is(err, knative.ErrNoRevision) {
		t.Errorf("a request got %v", err)
	}
	if err := w.Delete(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), `no service "a"`) {
		t.Errorf("deleted twice: %v", err)
	}
	// The name is free again, from its first generation.
	w.apply(helperService("a", "serve"))
	w.awaitReady("a")
	w.must("a-00001", "/")
}

// TestDeleteIsNobodyElsesWait: while a deleted service finishes its requests other services change, and its name is not
// free yet.
func TestDeleteIsNobodyElsesWait(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	hold := newTickets(t)
	hold.give(t, 1)
	w.apply(helperService("a", "serve", scale(1, 1), hold.needed))
	w.awaitReady("a")
	answer := make(chan error, 1)
	go func() {
		_, _, err := ask(context.Background(), w, "a-00001", "/held")
		answer <- err
	}()
	await(t, "it works", func() bool { return revisionOf(w.service("a"), "a-00001").Concurrency > 0 })
	deleted := make(chan error, 1)
	go func() { deleted <- w.Delete(context.Background(), "a") }()
	await(t, "it is listed no more", func() bool { return w.service("a").Name == "" })
	w.apply(helperService("b", "serve"))
	if err := w.Apply(t.Context(), helperService("a", "serve")); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("the name of a service that drains was taken: %v", err)
	}
	select {
	case err := <-deleted:
		t.Errorf("deleted before its request was answered: %v", err)
	default:
	}
	hold.give(t, 1)
	if err := soon.Next(t, "the answer", answer); err != nil {
		t.Error(err)
	}
	if err := soon.Next(t, "the deletion's end", deleted); err != nil {
		t.Error(err)
	}
	w.apply(helperService("a", "serve"))
}

// TestNotSaved: a service whose state cannot be written is told so.
func TestNotSaved(t *testing.T) {
	t.Parallel()
	e := idle(t)
	if err := os.RemoveAll(filepath.Join(e.store.dir, "services")); err != nil {
		t.Fatal(err)
	}
	if err := e.Apply(t.Context(), helperService("a", "serve")); err == nil || !strings.Contains(err.Error(), "was not saved") {
		t.Errorf("got %v", err)
	}
	if err := e.Delete(t.Context(), "a"); err != nil {
		t.Errorf("what was not saved cannot be deleted: %v", err)
	}
}

// TestDeleteStarting: requests that wait for a replica that will not come any more fail at once.
func TestDeleteStarting(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "serve", newTickets(t).needed))
	answer := make(chan error, 1)
	go func() {
		_, _, err := ask(context.Background(), w, "a-00001", "/")
		answer <- err
	}()
	await(t, "it waits", func() bool { return revisionOf(w.service("a"), "a-00001").Queue == 1 })
	if err := w.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := soon.Next(t, "the answer", answer); !errors.Is(err, knative.ErrNotReady) || !strings.Contains(err.Error(), "deleted") {
		t.Errorf("the request got %v", err)
	}
}

// TestLatestReady: the newest that is ready gets the traffic, also when its name is used again and when newer ones
// are not ready.
func TestLatestReady(t *testing.T) {
	t.Parallel()
	e := idle(t)
	apply := func(name string) {
		t.Helper()
		if err := e.Apply(t.Context(), helperService("a", name, named("a-"+name))); err != nil {
			t.Fatal(err)
		}
	}
	ready := func(name string) {
		t.Helper()
		e.revisionReady(e.revisions["a-"+name])
		e.wg.Wait()
	}
	want := func(name string) {
		t.Helper()
		s := e.services["a"]
		if diff := cmp.Diff([]knative.Target{{Revision: "a-" + name, Percent: 100}}, s.Active); diff != "" {
			t.Error(diff)
		}
		for _, saved := range s.Revisions {
			used := saved.Revision.Name == "a-"+name || saved.Revision.Name == s.LatestCreated && !saved.Ready
			if got := s.inUse()[saved.Revision.Name]; got != used {
				t.Errorf("%s: reachable %v", saved.Revision.Name, got)
			}
		}
	}
	apply("one")
	want("one") // nothing else could answer
	ready("one")
	apply("two")
	want("one")
	apply("three")
	ready("two")
	want("two") // three is still to come
	ready("three")
	want("three")
	ready("one")
	want("three")
	apply("one") // back
	want("one")
	if n := len(e.services["a"].Revisions); n != 3 {
		t.Errorf("%d revisions", n)
	}
}

// TestCollect: of many revisions those without traffic go, oldest first.
func TestCollect(t *testing.T) {
	t.Parallel()
	e := idle(t)
	for i := range keptRevisions + 5 {
		svc := helperService("a", "serve", func(s *servingv1.Service) {
			c := &s.Spec.Template.Spec.Containers[0]
			c.Env = append(c.Env, corev1.EnvVar{Name: "N", Value: fmt.Sprint(i)})
			if i >= 2 {
				traffic(to("a-00002", "kept", 100))(s)
			}
		})
		if err := e.Apply(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			e.revisionReady(e.revisions[fmt.Sprintf("a-%05d", i+1)])
			e.wg.Wait()
		}
	}
	var names []string
	for _, saved := range e.services["a"].Revisions {
		names = append(names, saved.Revision.Name)
	}
	if len(names) != keptRevisions || len(e.revisions) != keptRevisions {
		t.Errorf("%d revisions are kept: %v", len(names), names)
	}
	if !slices.Contains(names, "a-00002") || slices.Contains(names, "a-00001") || !slices.Contains(names, "a-00025") {
		t.Errorf("kept are %v", names)
	}
}
