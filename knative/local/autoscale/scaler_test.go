package autoscale

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{},
		{Revision: revision(1)},
		{Revision: revision(1, "class=hpa.autoscaling.knative.dev"), Ready: func() (int, int) { return 0, 0 }},
	} {
		if s, err := New(o); err == nil || s != nil {
			t.Errorf("New(%+v) = %v, %v, want an error", o, s, err)
		}
	}
}

// TestDecisionNumbers holds one decision whole: every number comes from the decider.
func TestDecisionNumbers(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Revision: revision(10, "window=10s", "target-burst-capacity=5"), Ready: func() (int, int) { return 1, 0 }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	now := start()
	for i := range 10 {
		now = start().Add(time.Duration(i) * time.Second)
		s.Record(now, metrics.Stat{AverageConcurrentRequests: 21, RequestCount: 100})
	}
	got := s.Tick(now)
	want := Decision{
		Time: now, Wanted: 3, Desired: 3, Panic: true, Stable: 21, PanicConcurrency: 21, Target: 7, ExcessBurst: 10 - 5 - 21,
		Reason: "21 requests in flight (21 in the panic window) at a target of 7 with 1 ready want 3 in panic mode",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}

// TestImpossibleStats sees that what no load can be does not stay in a window.
func TestImpossibleStats(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Revision: revision(1), Ready: func() (int, int) { return 1, 0 }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	zero := 0.0
	s.Record(start(), metrics.Stat{AverageConcurrentRequests: zero / zero})
	s.Record(start(), metrics.Stat{AverageConcurrentRequests: 1 / zero})
	s.Record(start(), metrics.Stat{RequestCount: -1})
	if d := s.Tick(start()); d.Desired != -1 {
		t.Errorf("desired %d from impossible stats, want -1 for no data", d.Desired)
	}
}

// TestNoData: on Knative the scale stays as it is while there is no data, but where the activator counts every request,
// at a burst capacity of -1, no data is no request.
func TestNoData(t *testing.T) {
	t.Parallel()
	for burst, want := range map[string]int{"211": -1, "-1": 0} {
		s, err := New(Options{Revision: revision(1, "target-burst-capacity="+burst), Ready: func() (int, int) { return 1, 0 }})
		if err != nil {
			t.Fatal(err)
		}
		if d := s.Tick(start()); d.Desired != want {
			t.Errorf("burst capacity %s: desired %d, want %d", burst, d.Desired, want)
		}
		s.Close()
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Revision: revision(1, "max-scale=3"), Ready: func() (int, int) { return 1, 0 }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 50 {
				now := start().Add(time.Duration(j) * time.Second)
				s.Record(now, metrics.Stat{AverageConcurrentRequests: 4})
				s.SetReachable(i%2 == 0)
				if d := s.Tick(now); d.Wanted > 3 {
					t.Errorf("wanted %d", d.Wanted)
				}
				_ = s.Initialized()
			}
		})
	}
	all.Wait()
}

func TestCloseTwice(t *testing.T) {
	t.Parallel()
	s, err := New(Options{Revision: revision(1, "min-scale=1"), Ready: func() (int, int) { return 0, 0 }})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	s.Record(start(), metrics.Stat{AverageConcurrentRequests: 1})
	if d := s.Tick(start()); d.Wanted != 1 || d.Desired != -1 {
		t.Errorf("after Close: %+v", d)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		annotations []string
		want        []string // parts of the error; none: no error
	}{
		{name: "nothing"},
		{name: "everything", annotations: []string{
			"class=kpa.autoscaling.knative.dev", "metric=rps", "target=10", "min-scale=1", "max-scale=5", "initial-scale=2",
			"activation-scale=2", "window=30s", "scale-down-delay=1m", "scale-to-zero-pod-retention-period=1m",
			"target-burst-capacity=-1", "target-utilization-percentage=80", "panic-window-percentage=10",
			"panic-threshold-percentage=200", "metric-aggregation-algorithm=linear",
		}},
		{name: "old spellings", annotations: []string{"minScale=1", "maxScale=2", "targetUtilizationPercentage=80"}},
		{name: "hpa", annotations: []string{"class=hpa.autoscaling.knative.dev", "metric=cpu"},
			want: []string{"hpa.autoscaling.knative.dev\" needs a cluster: leave it out", "\"cpu\" needs a cluster's horizontal pod autoscaler: say concurrency or rps"}},
		{name: "memory", annotations: []string{"metric=memory"}, want: []string{`metric: "memory" needs a cluster`}},
		{name: "own class", annotations: []string{"class=keda.example.com"}, want: []string{`"keda.example.com" needs a cluster`}},
		{name: "unknown", annotations: []string{"min-scal=1", "foo=2"}, want: []string{"foo: Knative has no such", "min-scal: Knative has no such annotation: it has activation-scale, class,"}},
		{name: "others' annotations", annotations: []string{"example.com/min-scal=1"}},
		{name: "all at once", annotations: []string{"min-scale=3", "max-scale=2", "window=1s", "target=zero", "metric-aggregation-algorithm=mean", "nothing=1"},
			want: []string{"max-scale=2 is less than min-scale=3", "window", "invalid value: zero", "invalid value: mean", "nothing: Knative has no such"}},
		{name: "initial scale 0 needs the setting", annotations: []string{"initial-scale=0"}, want: []string{"initial-scale=0 not allowed by cluster"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Validate(revision(1, tt.annotations...))
			if (err == nil) != (len(tt.want) == 0) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q:\n%v", part, err)
				}
			}
		})
	}
	if err := Validate(&servingv1.Revision{}); err != nil {
		t.Errorf("an empty revision: %v", err)
	}
}

func TestLoadConfig(t *testing.T) {
	t.Parallel()
	cfg, err := LoadConfig(map[string]string{"stable-window": "30s", "_example": "anything"})
	if err != nil || cfg.StableWindow != 30*time.Second || cfg.ScaleToZeroGracePeriod != 30*time.Second {
		t.Errorf("LoadConfig = %+v, %v", cfg, err)
	}
	// Each key is one that Knative reads: a value that none can have is an error, or a class that is refused.
	for _, key := range configKeys() {
		_, err := LoadConfig(map[string]string{key: "?"})
		if err == nil || strings.Contains(err.Error(), "no such key") {
			if key == "enable-scale-to-zero" || key == "allow-zero-initial-scale" {
				continue // Knative takes everything but true for false
			}
			t.Errorf("%s=?: %v", key, err)
		}
	}
	_, err = LoadConfig(map[string]string{"stable-windows": "30s", "max-scale": "x", "zz": ""})
	for _, part := range []string{"stable-windows: no such key", "zz: no such key", "max-scale"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
	if _, err = LoadConfig(map[string]string{"pod-autoscaler-class": "hpa.autoscaling.knative.dev"}); err == nil {
		t.Error("the class hpa is accepted")
	}
}
