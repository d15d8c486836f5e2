package test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/knative"
)

// revision returns a revision's status; any revision of the service if none is named.
func (w *weir) revision(t *testing.T, service, revision string) knative.RevisionStatus {
	t.Helper()
	all, err := w.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for _, r := range s.Revisions {
			if s.Name == service && (r.Name == revision || revision == "") {
				return r
			}
		}
	}
	t.Fatalf("service %s has no revision %s: %+v", service, revision, all)
	return knative.RevisionStatus{}
}

// hey runs the load generator of that name and returns its answers by status.
func hey(ctx context.Context, t *testing.T, args ...string) map[int]int {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", "hey"}, args...)...)
	cmd.Dir = harness.Root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("hey: %v\n%s", err, out)
	}
	got := map[int]int{}
	for _, m := range regexp.MustCompile(`\[(\d+)\]\s+(\d+) responses`).FindAllStringSubmatch(string(out), -1) {
		status, _ := strconv.Atoi(m[1])
		got[status], _ = strconv.Atoi(m[2])
	}
	if m := regexp.MustCompile(`(?s)Error distribution:.*`).Find(out); m != nil {
		t.Errorf("hey: %s", m)
	}
	return got
}

// TestScaleFromZeroAndBack loads imagenet from zero with hey: no request fails, replicas come and go as Knative wants.
func TestScaleFromZeroAndBack(t *testing.T) {
	w, model := scaledWeir(t)
	idle := func() bool {
		r := w.revision(t, model, "")
		return r.Ready == 0 && r.Wanted == 0 && r.State == knative.StateIdle
	}
	await(t, 3*time.Minute, model+" is at zero before the load", idle)

	photo := filepath.Join(t.TempDir(), "photo.jpg")
	if err := os.WriteFile(photo, sample(t, "china.jpg"), 0o600); err != nil {
		t.Fatal(err)
	}
	var most atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				most.Store(max(most.Load(), int64(w.revision(t, model, "").Ready)))
			case <-ctx.Done():
				return
			}
		}
	})
	args := []string{"-z", "20s", "-c", "16", "-t", "60", "-m", "POST", "-T", "image/jpeg", "-D", photo}
	// On a busy machine a second pod may need longer to start than a round lasts.
	for round := 0; round < 4 && most.Load() < 2; round++ {
		got := hey(t.Context(), t, append(args, heyAt(w, "/v1/models/"+model+":predict")...)...)
		if len(got) != 1 || got[http.StatusOK] < 16 {
			t.Errorf("answers by status %v, want only 200, and one for each caller", got)
		}
	}
	stop()
	watch.Wait()
	if most.Load() < 2 {
		t.Errorf("at most %d replicas under 16 callers, want at least 2", most.Load())
	}
	await(t, 3*time.Minute, model+" is at zero again", idle)
}

// scaledWeir is a weir with EfficientNet-Lite0 under a name, that goes to zero soon.
func scaledWeir(t *testing.T) (w *weir, model string) {
	if !harness.OnCluster() {
		return ownWeir(t, append([]string{"-f", harness.Path("knative/30-imagenet-lite0.yaml")}, harness.Quick...)...), "imagenet"
	}
	w = sharedWeir(t)
	w.deploy(t, "scaled", "--image", registry("imagenet"), "--model", "/models/imagenet/1", "--concurrency", "4", "--max-scale", "4", "--window", "6s")
	return w, "scaled"
}

// heyAt are the arguments that lead hey to a path.
func heyAt(w *weir, path string) []string {
	if !harness.OnCluster() {
		return []string{w.URL(path)}
	}
	return []string{"-host", w.Addr, "http://" + os.Getenv("WEIR_INGRESS") + path}
}

// TestAKilledReplica kills the only replica while it serves: every request is answered, or refused with 503.
func TestAKilledReplica(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative/20-digits.yaml")}, harness.Quick...)...)
	revisionOf(t, w, "/v1/models/digits:predict", nil)
	body := filepath.Join(t.TempDir(), "digits.json")
	if err := os.WriteFile(body, digitsBody, 0o600); err != nil {
		t.Fatal(err)
	}
	var load sync.WaitGroup
	var got map[int]int
	load.Go(func() {
		got = hey(t.Context(), t, "-z", "8s", "-c", "8", "-m", "POST", "-T", "application/json", "-D", body, w.URL("/v1/models/digits:predict"))
	})
	await(t, 20*time.Second, "load arrives", func() bool { return w.revision(t, "digits", "").RPS > 10 })
	pids := w.replicas(t)
	if len(pids) == 0 {
		t.Fatal("no replica to kill")
	}
	for _, pid := range pids {
		if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
			t.Errorf("replica %d could not be killed", pid)
		}
	}
	load.Wait()
	for status, n := range got {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("%d answers of status %d", n, status)
		}
	}
	if got[http.StatusOK] < 100 {
		t.Errorf("answers by status %v: the service did not come back", got)
	}
	revisionOf(t, w, "/v1/models/digits:predict", nil)
	if after := w.replicas(t); cmp.Equal(after, pids) {
		t.Errorf("replicas are still %v", after)
	}
}

// replicas returns the process ids of the replicas.
func (w *weir) replicas(t *testing.T) []int {
	t.Helper()
	pids, err := w.Replicas()
	if err != nil {
		t.Fatal(err)
	}
	return pids
}
