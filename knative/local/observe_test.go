package local

import (
	"testing"
	"time"

	"weir.dev/weir/knative"
)

// TestObserve asks a running engine over its socket: a replica with what it uses, the engine itself, each decision once.
func TestObserve(t *testing.T) {
	t.Parallel()
	w := begin(t, t.TempDir())
	w.apply(helperService("a", "serve", scale(1, 2), minScale(1)))
	await(t, "a replica is ready", func() bool { return revisionOf(w.service("a"), "a-00001").Ready == 1 })
	client, err := Dial(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	var seen knative.Observation
	await(t, "a decision", func() bool {
		if seen, err = client.Observe(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		return len(seen.Decisions["a-00001"]) > 0
	})
	if len(seen.Services) != 1 || len(seen.Replicas) != 2 {
		t.Fatalf("services %+v, replicas %+v; want one, and its replica with the engine", seen.Services, seen.Replicas)
	}
	if r := seen.Replicas[0]; r.Service != "a" || r.Revision != "a-00001" || !r.Ready || r.Memory < 1<<20 {
		t.Errorf("replica %+v", r)
	}
	if self := seen.Replicas[1]; self.Name != knative.EngineReplica || self.Memory < 1<<20 || self.CPU <= 0 {
		t.Errorf("the engine %+v", self)
	}
	decisions := seen.Decisions["a-00001"]
	last := decisions[len(decisions)-1]
	if last.Wanted != 1 || last.Target <= 0 {
		t.Errorf("decision %+v", last)
	}
	await(t, "the decisions after that one", func() bool {
		if seen, err = client.Observe(t.Context(), last.Time); err != nil {
			t.Fatal(err)
		}
		return len(seen.Decisions["a-00001"]) > 0
	})
	if next := seen.Decisions["a-00001"][0]; !next.Time.After(last.Time) {
		t.Errorf("the decision of %v came again: %v", last.Time, next.Time)
	}
}
