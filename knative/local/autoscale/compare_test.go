package autoscale

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	kparesources "knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	aresources "knative.dev/serving/pkg/reconciler/autoscaling/resources"
)

// recorded is one line of testdata/hey.csv: what knative.dev/networking/pkg/http/stats reported each second before a
// server that answers after 40 ms, under hey -c 16 -z 15s, 4 s later hey -c 3 -z 5s, 12 s later hey -c 40 -z 4s.
type recorded struct {
	at   time.Duration
	stat metrics.Stat
}

func readRecorded(t *testing.T) []recorded {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "hey.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []recorded
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ms,") {
			continue
		}
		var ms int64
		r := recorded{stat: metrics.Stat{PodName: "throttle"}}
		if _, err := fmt.Sscanf(lines.Text(), "%d,%g,%g", &ms, &r.stat.AverageConcurrentRequests, &r.stat.RequestCount); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		r.at = time.Duration(ms) * time.Millisecond
		all = append(all, r)
	}
	if len(all) < 50 {
		t.Fatalf("only %d recorded stats", len(all))
	}
	return all
}

// direct is Knative's decider with nothing of this package around it.
type direct struct {
	key       types.NamespacedName
	collector *metrics.MetricCollector
	decider   scaling.UniScaler
}

func newDirect(t *testing.T, concurrency int64, annotations []string, ready func() int) direct {
	t.Helper()
	rev := revision(concurrency, annotations...)
	pa := &autoscalingv1alpha1.PodAutoscaler{ObjectMeta: rev.ObjectMeta}
	pa.Spec.ContainerConcurrency = concurrency
	cfg, err := LoadConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := direct{key: types.NamespacedName{Namespace: rev.Namespace, Name: rev.Name}}
	d.collector = metrics.NewMetricCollector(func(*autoscalingv1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) {
		return nil, nil
	}, zap.NewNop().Sugar())
	if err := d.collector.CreateOrUpdate(aresources.MakeMetric(pa, "target", cfg)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.collector.Delete(d.key.Namespace, d.key.Name) })
	pods := counter(func() (int, int) { return ready(), 0 })
	d.decider = scaling.New(attribute.Set{}, noop.NewMeterProvider(), rev.Namespace, rev.Name, d.collector, pods, &kparesources.MakeDecider(pa, cfg).Spec)
	return d
}

// TestSameAsKnative feeds the same recorded stats to Knative's decider and to a Scaler and compares every decision.
func TestSameAsKnative(t *testing.T) {
	t.Parallel()
	stats := readRecorded(t)
	for _, tt := range []struct {
		name        string
		concurrency int64
		annotations []string
	}{
		{name: "concurrency 1", concurrency: 1, annotations: []string{"window=10s"}},
		{name: "concurrency 4", concurrency: 4},
		{name: "concurrency 4, window 6s", concurrency: 4, annotations: []string{"window=6s"}},
		{name: "target 2.5 at 90 %", annotations: []string{"target=2.5", "target-utilization-percentage=90", "window=10s"}},
		{name: "rps", annotations: []string{"metric=rps", "target=60", "window=10s"}},
		{name: "panic only from 500 %", concurrency: 2, annotations: []string{"panic-threshold-percentage=500", "panic-window-percentage=50", "window=10s"}},
		{name: "scale-down-delay", concurrency: 4, annotations: []string{"scale-down-delay=10s", "window=6s"}},
		{name: "activation-scale", concurrency: 20, annotations: []string{"activation-scale=3", "window=6s"}},
		{name: "weighted", concurrency: 4, annotations: []string{"metric-aggregation-algorithm=weighted-exponential", "window=10s"}},
		{name: "no burst", concurrency: 4, annotations: []string{"target-burst-capacity=0", "window=10s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			type decision struct {
				At             time.Duration
				Desired, Burst int32
			}
			var want, got []decision
			ready := 0
			knative := newDirect(t, tt.concurrency, tt.annotations, func() int { return ready })
			ours, err := New(Options{
				Revision: revision(tt.concurrency, tt.annotations...), Ready: func() (int, int) { return ready, 0 },
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(ours.Close)
			last := ours.latest
			for i, r := range stats {
				now := start().Add(r.at)
				knative.collector.Record(knative.key, now, r.stat)
				ours.Record(now, r.stat)
				if i%2 == 0 {
					continue
				}
				result := knative.decider.Scale(zap.NewNop().Sugar(), now)
				if result.ScaleValid {
					last = scaling.DeciderStatus{DesiredScale: result.DesiredPodCount, ExcessBurstCapacity: result.ExcessBurstCapacity}
				}
				d := ours.Tick(now)
				want = append(want, decision{r.at, last.DesiredScale, last.ExcessBurstCapacity})
				got = append(got, decision{r.at, int32(d.Desired), int32(d.ExcessBurst)})
				ready = d.Wanted // replicas that are ready by the next decision
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decisions differ (-Knative +weir):\n%s", diff)
			}
			if peak := maxOf(want, func(d decision) int32 { return d.Desired }); peak < 2 {
				t.Errorf("the highest decision is %d: the recording does not exercise the decider", peak)
			}
		})
	}
}

func maxOf[T any](all []T, value func(T) int32) int32 {
	var most int32
	for _, v := range all {
		most = max(most, value(v))
	}
	return most
}
