package test

import (
	"strings"
	"testing"

	"weir.dev/weir/internal/harness"
)

// TestKustomize starts weir with an overlay and asks one of its models.
func TestKustomize(t *testing.T) {
	t.Parallel()
	w := ownWeir(t, "-k", harness.Path("knative/overlays/local"))
	status := w.must(t, "status")
	for _, name := range []string{"digits", "embed", "imagenet-lite0", "router"} {
		if !strings.Contains(status, name) {
			t.Errorf("no %s:\n%s", name, status)
		}
	}
	if out := w.must(t, "predict", "imagenet", "--image", harness.Path("build/samples/coffee.png")); !strings.Contains(out, "espresso") {
		t.Errorf("prediction %s", out)
	}
}
