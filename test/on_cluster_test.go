//go:build cluster

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/knative"
	inferencepb "weir.dev/weir/proto/inference"
)

// deployHalf deploys half_plus_two for one test.
func deployHalf(t *testing.T, w *weir, name string, args ...string) {
	t.Helper()
	w.deploy(t, name, append(halfModel(t, w), args...)...)
}

// under asks for half_plus_two without a pause while do runs, and returns the answers by status; 0 is none.
func (w *weir) under(model string, do func()) map[int]int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	got, mu := map[int]int{}, sync.Mutex{}
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				resp, err := http.Post(w.URL("/v1/models/"+model+":predict"), "application/json", bytes.NewReader(halfBody))
				status := 0
				if err == nil {
					status = resp.StatusCode
					_ = resp.Body.Close()
				}
				mu.Lock()
				got[status]++
				mu.Unlock()
			}
		})
	}
	do()
	stop()
	load.Wait()
	return got
}

// TestTheLifeOfAService deploys, asks, looks, reads logs and deletes, as TestDeployOneOfYourOwn does on one machine.
func TestTheLifeOfAService(t *testing.T) {
	w := sharedWeir(t)
	w.must(t, "image", "push", "half", "--model", harness.Path("build/fixtures/half_plus_two/1"), "--to", os.Getenv("WEIR_REGISTRY"))
	w.must(t, "deploy", "life", "--image", registry("half"), "--model", "/models/half/1", "--concurrency", "8")
	ask := func(args ...string) string {
		return w.must(t, append([]string{"predict", "life", "-o", "json", "--json", writeFile(t, string(halfBody))}, args...)...)
	}
	var a struct{ Predictions []float64 }
	if err := json.Unmarshal([]byte(ask()), &a); err != nil || !cmp.Equal(a.Predictions, []float64{2.5, 3, 4.5}) {
		t.Errorf("half of 1, 2, 5 plus two is %v (%v)", a.Predictions, err)
	}
	w.must(t, "deploy", "life", "--model", "/models/half/1", "--version", "2", "--tag", "next", "--traffic", "0")
	ask("--tag", "next")
	ask("--version", "2")
	percents := map[string]int{}
	all, err := w.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for _, r := range s.Revisions {
			if s.Name == "life" {
				percents[r.Name] = r.Percent
			}
		}
	}
	if want := map[string]int{"life-00001": 100, "life-00002": 0}; !cmp.Equal(percents, want) {
		t.Errorf("traffic is %v, want %v", percents, want)
	}
	if out := w.must(t, "logs", "life"); !strings.Contains(out, "life-00002") || !strings.Contains(out, "model is ready") {
		t.Errorf("logs have no line of a replica:\n%s", out)
	}
	w.must(t, "delete", "life")
	await(t, 30*time.Second, "the router knows that the model is gone", func() bool {
		_, errs, err := w.Run(t.Context(), "predict", "life", "--json", writeFile(t, `{"instances":[1]}`))
		return err != nil && strings.Contains(errs, "404")
	})
	if _, errs, err := w.Run(t.Context(), "logs", "life"); err == nil || !strings.Contains(errs, `no service "life"`) {
		t.Errorf("logs after delete: %v: %s", err, errs)
	}
}

// TestMistakesOnACluster makes the mistakes that people make; deploy and status say what is wrong and what to do.
func TestMistakesOnACluster(t *testing.T) {
	w := sharedWeir(t)
	savedmodel := registry("savedmodel")
	for _, tt := range []struct {
		name string
		args []string
		says string
	}{
		{"absent-image", []string{"--image", registry("absent:1")}, "cannot be pulled, the registry does not have it: push it or give another --image"},
		{"absent-model", []string{"--image", savedmodel, "--model", "/models/absent"}, "model /models/absent: no such folder: give another --model"},
		{"no-model", []string{"--image", savedmodel, "--model", "/etc"}, "SavedModel"},
		{"crash-loop", []string{"--image", savedmodel, "--model", "/etc", "--env", "LOG_LEVEL=loud"}, `ends at its start (exit code 1), --log-level "loud": it is debug, info, warn or error: see weir logs`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, errs, err := w.Run(t.Context(), append([]string{"deploy", tt.name, "--timeout", "3m"}, tt.args...)...)
			if err == nil || !strings.Contains(errs, tt.name+"-00001 failed: ") || !strings.Contains(errs, tt.says) {
				t.Errorf("deploy says\n%swant %s", errs, tt.says)
			}
			if out := w.must(t, "status", tt.name); !strings.Contains(out, tt.says) || !strings.Contains(out, "Failed") {
				t.Errorf("status says\n%swant %s", out, tt.says)
			}
			w.must(t, "delete", tt.name)
		})
	}
	config := filepath.Join(t.TempDir(), "kubeconfig")
	if err := w.Stranger(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"deploy", "x", "--image", savedmodel}, {"delete", "digits"}} {
		if _, errs, err := w.Run(t.Context(), append(args, "--kubeconfig", config)...); err == nil || !strings.Contains(errs, "no rights in namespace") || !strings.Contains(errs, "ask the cluster's administrator") {
			t.Errorf("%s without rights: %v: %s", args[0], err, errs)
		}
	}
}

// TestColdStartAndBack asks a model at zero, and waits until it is there again.
func TestColdStartAndBack(t *testing.T) {
	w := sharedWeir(t)
	deployHalf(t, w, "sleepy", "--window", "6s")
	idle := func() bool { return w.revision(t, "sleepy", "").State == knative.StateIdle }
	await(t, 3*time.Minute, "sleepy is at zero", idle)
	var a map[string]any
	h := postJSON(t, w.URL("/v1/models/sleepy:predict"), "application/json", halfBody, nil, &a)
	if h.Get(knative.HeaderColdStart) != "true" || h.Get(knative.HeaderRevision) != "sleepy-00001" {
		t.Errorf("from zero: cold %q, revision %q", h.Get(knative.HeaderColdStart), h.Get(knative.HeaderRevision))
	}
	if h := postJSON(t, w.URL("/v1/models/sleepy:predict"), "application/json", halfBody, nil, &a); h.Get(knative.HeaderColdStart) != "" {
		t.Error("the second request says it was a cold start")
	}
	await(t, 3*time.Minute, "sleepy is at zero again", idle)
}

// TestSplitOnACluster splits 70:30 between revisions without tags.
func TestSplitOnACluster(t *testing.T) {
	w := sharedWeir(t)
	deployHalf(t, w, "split")
	w.must(t, "deploy", "split", "--model", "/models/half/1", "--version", "2", "--traffic", "30")
	await(t, 30*time.Second, "the router has the split", func() bool { return w.revision(t, "split", "split-00002").Percent == 30 })
	checkSplit(t, w, "split", "split-00002", 30, halfBody)
}

// TestCallsAtAModelsOwnAddress sends gRPC past the router, from zero as well: the port is named h2c for that.
func TestCallsAtAModelsOwnAddress(t *testing.T) {
	w := sharedWeir(t)
	deployHalf(t, w, "called", "--h2c", "--window", "6s")
	conn := dialCalls(t, w.Host("called"))
	infer := func() {
		in := &inferencepb.ModelInferRequest_InferInputTensor{Name: "x", Datatype: "FP32", Shape: []int64{1}, Contents: &inferencepb.InferTensorContents{Fp32Contents: []float32{1}}}
		a, err := inferencepb.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), &inferencepb.ModelInferRequest{ModelName: "called", Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{in}})
		if err != nil || len(a.GetOutputs()) != 1 || !cmp.Equal(a.GetOutputs()[0].GetContents().GetFp32Contents(), []float32{2.5}) {
			t.Errorf("half of 1 plus two: %v, %v", a, err)
		}
	}
	infer()
	var a struct{ Predictions []float64 }
	if postJSON(t, "http://"+w.Host("called")+"/v1/models/called:predict", "application/json", halfBody, nil, &a); !cmp.Equal(a.Predictions, []float64{2.5, 3, 4.5}) {
		t.Errorf("REST at the same port: %v", a)
	}
	await(t, 3*time.Minute, "called is at zero", func() bool { return w.revision(t, "called", "").State == knative.StateIdle })
	infer()
}

// TestRolloutAndLossUnderLoad replaces the revision and kills a pod while requests come: none fails in the first case,
// and in the second each is answered or refused with 503.
func TestRolloutAndLossUnderLoad(t *testing.T) {
	w := sharedWeir(t)
	deployHalf(t, w, "busy", "--min-scale", "1")
	got := w.under("busy", func() {
		w.must(t, "deploy", "busy", "--model", "/models/half/1", "--version", "2")
		await(t, time.Minute, "the new revision answers", func() bool {
			var a map[string]any
			return postJSON(t, w.URL("/v1/models/busy:predict"), "application/json", halfBody, nil, &a).Get(knative.HeaderRevision) == "busy-00002"
		})
	})
	if len(got) != 1 || got[http.StatusOK] < 10 {
		t.Errorf("answers by status during the roll-out: %v, want only 200", got)
	}
	got = w.under("busy", func() {
		if err := w.KillPod(t.Context(), "busy-00002"); err != nil {
			t.Error(err)
		}
		await(t, 2*time.Minute, "another replica answers", func() bool { return w.revision(t, "busy", "busy-00002").Ready > 0 })
	})
	for status := range got {
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Errorf("answers by status when a pod is killed: %v", got)
		}
	}
}

// TestRouterRestartUnderLoad replaces the router's revision, then ends its pod: requests by way of the ingress wait
// meanwhile, and none fails.
func TestRouterRestartUnderLoad(t *testing.T) {
	w := sharedWeir(t)
	deployHalf(t, w, "steady", "--min-scale", "1")
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"a new revision", func(ctx context.Context) error { return w.Redeploy(ctx, "router") }},
		{"its pod ends", func(ctx context.Context) error { return w.EndPods(ctx, "router") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := w.under("steady", func() {
				if err := tt.do(t.Context()); err != nil {
					t.Error(err)
				}
			})
			if len(got) != 1 || got[http.StatusOK] < 10 {
				t.Errorf("answers by status: %v, want only 200", got)
			}
		})
	}
}

// relative is a path as kustomize wants it.
func relative(t *testing.T, from, to string) string {
	t.Helper()
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Rel(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
