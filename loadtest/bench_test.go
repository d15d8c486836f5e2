package loadtest

import (
	"os"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/knative"
)

// slice is how long each side of a comparison runs before the other one's turn.
const slice = 2 * time.Second

var digitsJSON = []byte(`{"instances":[[` + strings.TrimSuffix(strings.Repeat("[[0],[0.5],[1],[0.25],[0],[0],[0],[0]],", 8), ",") + `]]}`)

func readPhoto(b *testing.B) []byte {
	b.Helper()
	photo, err := os.ReadFile(harness.Path("build/samples/china.jpg"))
	if err != nil {
		b.Fatal(err)
	}
	return photo
}

// compare runs two sides in turn and reports each one's median rate and the median ratio of neighbours.
func compare(b *testing.B, unit string, callers int, weir, peer func() error) {
	b.Helper()
	rate(b, callers, slice/4, weir) // both warm
	rate(b, callers, slice/4, peer)
	var ours, theirs, ratios []float64
	for b.Loop() {
		for range 2 {
			o, t := rate(b, callers, slice, weir), rate(b, callers, slice, peer)
			ours, theirs, ratios = append(ours, o), append(theirs, t), append(ratios, o/t)
		}
	}
	b.ReportMetric(median(ours), unit+"/s")
	b.ReportMetric(median(theirs), "bare-"+unit+"/s")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkReplica is one replica of imagenet fed JPEGs by two callers, against the bare session with the same threads
// doing the same decode.
func BenchmarkReplica(b *testing.B) {
	photo := readPhoto(b)
	url := startFunction(b, "imagenet", "imagenet/1")
	session := openBare(b, "imagenet/1", "image_bytes", "image_bytes", "probabilities")
	compare(b, "images", 2,
		post(url+"/v1/models/imagenet:predict", "image/jpeg", photo),
		func() error { return session.run([]string{string(photo)}) })
}

// BenchmarkColdStart is imagenet from zero replicas: from a request to its answer, page cache warm.
func BenchmarkColdStart(b *testing.B) {
	photo := readPhoto(b)
	w := startWeir(b, append([]string{"-f", harness.Path("knative/30-imagenet-lite0.yaml")}, harness.Quick...)...)
	ask := post(w.URL("/v1/models/imagenet:predict"), "image/jpeg", photo)
	awaitIdle(b, w)
	if err := ask(); err != nil { // reads the pages
		b.Fatal(err)
	}
	var took []float64
	for b.Loop() {
		awaitIdle(b, w)
		start := time.Now()
		if err := ask(); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(start).Milliseconds()))
	}
	b.ReportMetric(median(took), "ms-median")
	b.ReportMetric(0, "ns/op")
}

// awaitIdle waits until imagenet is at zero.
func awaitIdle(b *testing.B, w *harness.Weir) {
	b.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(2 * time.Minute); ; {
		all, err := w.Status(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		idle := true
		for _, s := range all {
			for _, r := range s.Revisions {
				idle = idle && (s.Name != "imagenet" || r.State == knative.StateIdle)
			}
		}
		if pids, err := w.Replicas(); err == nil && idle && len(pids) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			b.Fatal("imagenet is not at zero after two minutes")
		}
	}
}
