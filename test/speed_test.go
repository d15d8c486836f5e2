package test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// TestBatchesAreShown deploys a model with a size of batches and reads what weir says of it.
func TestBatchesAreShown(t *testing.T) {
	w := ownWeir(t, harness.Quick...)
	w.must(t, "deploy", "digits", "--model", harness.Path("build/models/digits/1"), "--batch", "16", "--min-scale", "1")
	await(t, 20*time.Second, "status says that requests run together", func() bool {
		return regexp.MustCompile(`BATCHES\n.*serving_default 16`).MatchString(w.must(t, "status", "-o", "wide"))
	})
	w.must(t, "deploy", "digits", "--model", harness.Path("build/models/digits/1"), "--batch", "off")
	await(t, 20*time.Second, "status says that requests do not run together", func() bool {
		return regexp.MustCompile(`digits-00002 .* off\n`).MatchString(w.must(t, "status", "-o", "wide"))
	})
}

// TestColdStartTellsItsPhases reads what the first answer and the metrics say about where the time went.
func TestColdStartTellsItsPhases(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative/20-digits.yaml")}, harness.Quick...)...)
	await(t, 60*time.Second, "digits is at zero", func() bool { return len(w.replicas(t)) == 0 && w.revision(t, "digits", "").Wanted == 0 })
	ask := func() answer {
		req, _ := http.NewRequest(http.MethodPost, w.URL("/v1/models/digits:predict"), strings.NewReader(`{"instances":[`+digit+`]}`))
		req.Header.Set("Content-Type", "application/json")
		return do(t, req)
	}
	phases := regexp.MustCompile(`^queue;dur=[\d.]+, process;dur=[\d.]+, library;dur=[\d.]+, load;dur=[\d.]+, warm;dur=[\d.]+, notice;dur=[\d.]+, predict;dur=[\d.]+$`)
	a := ask()
	if said := a.header.Get("Server-Timing"); a.status != http.StatusOK || !phases.MatchString(said) {
		t.Errorf("the first answer is %d %s and says %q of its time", a.status, a.body, said)
	}
	if said := ask().header.Get("Server-Timing"); strings.Contains(said, ",") {
		t.Errorf("the second answer says %q of its time", said)
	}
	req, _ := http.NewRequest(http.MethodGet, w.URL("/metrics"), http.NoBody)
	metrics := string(do(t, req).body)
	for _, phase := range []string{"queue", "process", "library", "load", "warm", "notice", "predict"} {
		if want := `weir_router_cold_start_seconds_count{model="digits",phase="` + phase + `",revision="digits-00001"} 1`; !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

var digit = "[" + strings.TrimSuffix(strings.Repeat("["+strings.TrimSuffix(strings.Repeat("[0.5],", 8), ",")+"],", 8), ",") + "]"
