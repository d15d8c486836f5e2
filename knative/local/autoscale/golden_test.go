package autoscale

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// TestDecisions runs revisions through virtual time and compares every change with a golden table.
func TestDecisions(t *testing.T) {
	t.Parallel()
	const s = time.Second
	hey16 := between(10*s, 40*s, 16)
	never := func(time.Duration) float64 { return 0 }
	tests := []struct {
		name        string
		concurrency int64
		annotations []string
		config      map[string]string
		coldStart   time.Duration
		rps         float64
		length      time.Duration
		load        func(time.Duration) float64
		initialized bool
		unreachable time.Duration // when the last route goes away
	}{
		{name: "defaults", concurrency: 4, load: hey16},
		{name: "window-6s", concurrency: 4, annotations: []string{"window=6s"}, load: hey16},
		{name: "window-10s", concurrency: 4, annotations: []string{"window=10s"}, load: hey16},
		{name: "window-60s-slow-load", concurrency: 4, annotations: []string{"window=60s"}, load: between(10*s, 100*s, 4)},
		{name: "no-concurrency-limit", annotations: []string{"window=10s"}, load: hey16},
		{name: "initial-scale-0", concurrency: 4, annotations: []string{"initial-scale=0", "window=6s"}, config: map[string]string{"allow-zero-initial-scale": "true"}, load: hey16},
		{name: "initial-scale-3", concurrency: 4, annotations: []string{"initial-scale=3", "window=6s"}, load: never},
		{name: "min-scale-1", concurrency: 4, annotations: []string{"min-scale=1", "window=6s"}, load: hey16},
		{name: "min-scale-2-unreachable", concurrency: 4, annotations: []string{"min-scale=2", "window=6s"}, load: never, unreachable: 20 * s},
		{name: "max-scale-3", concurrency: 4, annotations: []string{"max-scale=3", "window=6s"}, load: hey16},
		{name: "activation-scale-2", concurrency: 4, annotations: []string{"activation-scale=2", "window=6s"}, load: between(40*s, 60*s, 1)},
		{name: "scale-down-delay", concurrency: 4, annotations: []string{"scale-down-delay=20s", "window=6s"}, load: hey16},
		{name: "retention-period", concurrency: 4, annotations: []string{"scale-to-zero-pod-retention-period=40s", "window=6s"}, load: hey16},
		{name: "grace-period", concurrency: 4, annotations: []string{"target-burst-capacity=0", "window=6s"}, config: map[string]string{"scale-to-zero-grace-period": "15s"}, load: hey16},
		{name: "no-scale-to-zero", concurrency: 4, annotations: []string{"window=6s"}, config: map[string]string{"enable-scale-to-zero": "false"}, load: hey16},
		{name: "never-activated", concurrency: 4, annotations: []string{"serving.knative.dev/progress-deadline=20s", "window=6s"}, coldStart: time.Hour, load: never},
		{name: "client-leaves-during-cold-start", concurrency: 4, annotations: []string{"window=6s"}, coldStart: 20 * s, load: between(60*s, 62*s, 1)},
		{name: "rps", concurrency: 0, annotations: []string{"metric=rps", "target=50", "window=6s"}, rps: 20, load: hey16},
		{name: "burst-capacity-unlimited", concurrency: 4, annotations: []string{"target-burst-capacity=-1", "window=6s"}, load: hey16},
		{name: "initialized", concurrency: 4, annotations: []string{"initial-scale=3", "window=6s"}, load: hey16, initialized: true},
		{name: "initialized-min-scale", concurrency: 4, annotations: []string{"min-scale=2", "window=6s"}, load: never, initialized: true},
		{name: "weighted-exponential", concurrency: 4, annotations: []string{"metric-aggregation-algorithm=weighted-exponential", "window=6s"}, load: hey16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := LoadConfig(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			w := &world{coldStart: 2 * s, rps: tt.rps}
			if tt.coldStart > 0 {
				w.coldStart = tt.coldStart
			}
			length := 200 * s
			if tt.length > 0 {
				length = tt.length
			}
			each := func(d Decision) {
				if tt.unreachable > 0 && d.Time.Sub(start()) >= tt.unreachable {
					w.scaler.SetReachable(false)
				}
			}
			o := Options{Revision: revision(tt.concurrency, tt.annotations...), Config: cfg, Initialized: tt.initialized}
			w.run(t, o, length, tt.load, each)
			compare(t, tt.name, strings.Join(w.rows, "\n")+"\n")
		})
	}
}

// compare holds the text against testdata/NAME.golden, or writes it.
func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", fmt.Sprintf("%s.golden", name))
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("decisions differ from %s (-want +got):\n%s", path, diff)
	}
}
