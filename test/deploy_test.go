package test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/knative"
)

// registry is an image's address in the cluster's registry.
func registry(name string) string { return os.Getenv("WEIR_REGISTRY") + "/weir/" + name }

// deploy deploys a service for one test.
func (w *weir) deploy(t *testing.T, name string, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		if _, errs, err := w.Run(context.Background(), "delete", name); err != nil {
			t.Errorf("delete %s: %v: %s", name, err, errs)
		}
	})
	w.must(t, append([]string{"deploy", name}, args...)...)
}

// halfModel are deploy's arguments for half_plus_two; its image is pushed first.
func halfModel(t *testing.T, w *weir) []string {
	t.Helper()
	folder := harness.Path("build/fixtures/half_plus_two/1")
	if !harness.OnCluster() {
		return []string{"--model", folder}
	}
	w.must(t, "image", "push", "half", "--model", folder, "--to", os.Getenv("WEIR_REGISTRY"))
	return []string{"--image", registry("half"), "--model", "/models/half/1"}
}

var halfBody = []byte(`{"instances":[1.0,2.0,5.0]}`)

// TestAFirstDeployThatFails is answered with 503 and the reason; the next deploy takes the traffic at once, though it
// asks for half of it only.
func TestAFirstDeployThatFails(t *testing.T) {
	w := changeableWeir(t)
	model := halfModel(t, w)
	bad := append(append([]string{"deploy", "phoenix"}, model[:len(model)-1]...), t.TempDir())
	if harness.OnCluster() {
		bad[len(bad)-1] = "/etc"
	}
	if _, errs, err := w.Run(t.Context(), bad...); err == nil || !strings.Contains(errs, "phoenix-00001 failed: ") {
		t.Fatalf("deploy of what is no model: %v: %s", err, errs)
	}
	req, err := http.NewRequest(http.MethodPost, w.URL("/v1/models/phoenix:predict"), bytes.NewReader(halfBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if a := do(t, req); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "revision phoenix-00001 ") {
		t.Errorf("%d, Retry-After %q: %s", a.status, a.header.Get("Retry-After"), a.body)
	}
	w.deploy(t, "phoenix", append(model, "--tag", "better", "--traffic", "50")...)
	for _, h := range []http.Header{nil, {"X-Weir-Tag": {"better"}}} {
		var a struct{ Predictions []float64 }
		got := postJSON(t, w.URL("/v1/models/phoenix:predict"), "application/json", halfBody, h, &a)
		if got.Get(knative.HeaderRevision) != "phoenix-00002" || !cmp.Equal(a.Predictions, []float64{2.5, 3, 4.5}) {
			t.Errorf("%v answers %v", got.Get(knative.HeaderRevision), a.Predictions)
		}
	}
	if r := w.revision(t, "phoenix", "phoenix-00002"); r.Percent != 100 {
		t.Errorf("status: %+v", r)
	}
}

// changeableWeir is a weir on which a test may deploy what it removes again.
func changeableWeir(t *testing.T) *weir {
	t.Helper()
	if harness.OnCluster() {
		return sharedWeir(t)
	}
	return ownWeir(t, harness.Quick...)
}
