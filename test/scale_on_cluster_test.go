//go:build cluster

package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/report"
)

// TestScaleOnProcessors has the overlay hpa: a model that is busy goes from one replica to three or more, one that is asked now
// and then stays at one, and the busy one goes back.
func TestScaleOnProcessors(t *testing.T) {
	w := own(t, func(dir string) (*harness.Weir, error) {
		return harness.Join(t.Context(), filepath.Base(dir), dir, "knative/overlays/hpa")
	})
	photo := filepath.Join(harness.Path("build/samples"), "chelsea.png")
	w.must(t, "predict", "embed", "--image", photo) // it may have gone to zero
	samples := harness.Path("build/samples")
	load := writeFile(t, fmt.Sprintf(`name: hpa
loads:
  - name: busy
    target: {model: imagenet}
    inputs: {images: %[1]s}
    stages: [{users: 8, duration: 60s, think: 50ms}]
  - name: idle
    target: {model: embed}
    inputs: {images: %[1]s}
    stages: [{users: 1, duration: 60s, think: 1s}]
thresholds:
  - max_replicas(imagenet) >= 3
  - replicas(embed) == 1
`, samples))
	began := time.Now()
	w.must(t, "load", load, "--out", filepath.Join(t.TempDir(), "hpa"))
	await(t, 2*time.Minute, "imagenet has one replica again", func() bool {
		r := w.revision(t, "imagenet", "imagenet-lite0-hpa")
		return r.Ready == 1 && r.Wanted == 1 && r.Starting == 0
	})
	t.Logf("to three replicas and back to one: %.0f s, 60 of them under load", time.Since(began).Seconds())
}

const (
	// slack is the autoscaler's tick of 2 s, and the second between two looks.
	slack = 3.0
	// bothRuns is how many runs there are at most until the engines agree: what else the machine does may hold either of them
	// for seconds. Engines that decide otherwise differ in each.
	bothRuns = 3
)

// TestSameReplicasOnBothEngines sends the same arrivals to the same Service on one machine and on the cluster, side by
// side. At any time both want as many replicas as the other does within a tick, give or take one, and have as many but for what
// a replica takes to start. The reports, and a picture of both, stay in build/both-engines.
func TestSameReplicasOnBothEngines(t *testing.T) {
	out := harness.Path("build/both-engines")
	engines := map[string]*weir{"local": ownWeir(t), "cluster": sharedWeir(t)}
	for n := 1; ; n++ {
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		differ := differences(t, engines, out)
		t.Log(engines["local"].must(t, "load", "compare", filepath.Join(out, "local"), filepath.Join(out, "cluster"), "--out", filepath.Join(out, "compare.html")))
		switch {
		case len(differ) == 0:
			return
		case n == bothRuns:
			t.Fatalf("the engines differed in each of %d runs, in the last one:\n%s", n, strings.Join(differ, "\n"))
		}
		t.Logf("run %d:\n%s", n, strings.Join(differ, "\n"))
	}
}

// differences makes a run on each engine, and says where one had other replicas than the other.
func differences(t *testing.T, engines map[string]*weir, out string) (all []string) {
	t.Helper()
	differ := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	runs, missed := map[string]*measure.Run{}, map[string]*error{}
	g := errgroup.Group{}
	for name, w := range engines {
		run, err := &measure.Run{}, new(error)
		runs[name], missed[name] = run, err
		g.Go(func() (broken error) {
			dir := filepath.Join(out, name)
			// A threshold that does not hold makes it fail, too, but leaves a report.
			_, _, *err = w.Run(t.Context(), "load", harness.Path("loadtest/scenarios/both-engines.yaml"), "--out", dir)
			*run, broken = report.Read(dir)
			return errors.Join(broken, t.Context().Err())
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, err := range missed {
		if *err != nil {
			differ("%s: a threshold does not hold: %v", name, *err)
		}
	}
	local, cluster := staircases(runs["local"]), staircases(runs["cluster"])
	pod, process := slowest(cluster), slowest(local)
	t.Logf("slowest start of a pod: %.0f s, of a process: %.0f s", pod, process)
	for what, start := range map[string]float64{"wanted": 0, "ready": max(pod, process)} {
		t.Logf("%s by the second, one machine: %v", what, counts(local[what]))
		t.Logf("%s by the second, the cluster: %v", what, counts(cluster[what]))
		for _, s := range local[what] {
			if least, most := between(cluster[what], s.t-slack-start, s.t+slack+start); s.n < least-1 || s.n > most+1 {
				differ("%s at %.0f s: %d on one machine, %d to %d on the cluster", what, s.t, s.n, least, most)
			}
		}
		for _, s := range cluster[what] {
			if least, most := between(local[what], s.t-slack-start, s.t+slack+start); s.n < least-1 || s.n > most+1 {
				differ("%s at %.0f s: %d on the cluster, %d to %d on one machine", what, s.t, s.n, least, most)
			}
		}
	}
	return all
}

func counts(steps []step) []int {
	all := make([]int, len(steps))
	for i, s := range steps {
		all[i] = s.n
	}
	return all
}

// step is a number of replicas at a time of a run.
type step struct {
	t float64
	n int
}

// staircases are the replicas of a run's one model, wanted and ready.
func staircases(run *measure.Run) map[string][]step {
	all := map[string][]step{}
	for _, row := range run.Rows {
		for name, r := range row.Revisions {
			if name == "waiting-both-00001" {
				all["wanted"] = append(all["wanted"], step{row.T, r.Wanted})
				all["ready"] = append(all["ready"], step{row.T, r.Ready})
			}
		}
	}
	return all
}

func at(steps []step, t float64) int {
	i := slices.IndexFunc(steps, func(s step) bool { return s.t >= t })
	if i < 0 {
		i = len(steps) - 1
	}
	return steps[i].n
}

// between are the least and the most of some time; the ends stand for what is beyond them.
func between(steps []step, from, to float64) (least, most int) {
	least, most = at(steps, from), at(steps, from)
	for _, s := range steps {
		if s.t >= from && s.t <= to {
			least, most = min(least, s.n), max(most, s.n)
		}
	}
	return least, most
}

// slowest is the longest time from wanting a replica more than ever before to having as many.
func slowest(run map[string][]step) (most float64) {
	highest := 0
	for i, wanted := range run["wanted"] {
		for ; highest < wanted.n; highest++ {
			for j, ready := range run["ready"][i:] {
				if ready.n > highest {
					most = max(most, ready.t-wanted.t)
					break
				}
				if run["wanted"][i+j].n <= highest {
					break // it is wanted no more
				}
			}
		}
	}
	return most
}
