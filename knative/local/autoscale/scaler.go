package autoscale

import (
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
	kparesources "knative.dev/serving/pkg/reconciler/autoscaling/kpa/resources"
	aresources "knative.dev/serving/pkg/reconciler/autoscaling/resources"
)

// TickInterval is how often Tick is to be called; it is the decider's own (tickInterval of scaling/multiscaler.go).
const TickInterval = 2 * time.Second

// maxLoad bounds the values of a stat, so that sums over windows stay exact.
const maxLoad = 1e9

// Options say what to scale and by which settings.
type Options struct {
	// Revision has the annotations and the containerConcurrency. It is copied.
	Revision *servingv1.Revision
	// Config is config-autoscaler. If nil, Knative's defaults.
	Config *autoscalerconfig.Config
	// Ready counts the replicas that answer and those that were started and do not yet. It must not be nil. It is called
	// in New and in Tick, never concurrently by one Scaler, and must not call the Scaler.
	Ready func() (ready, notReady int)
	// Initialized says that the revision has reached its initial-scale before, in an earlier run of the engine. It then
	// starts inactive with min-scale replicas, and initial-scale does not apply.
	Initialized bool
	// Log takes the decider's own lines. If nil, they are dropped.
	Log *zap.SugaredLogger
}

// Scaler decides for one revision. It is safe for concurrent use.
type Scaler struct {
	cfg       *autoscalerconfig.Config
	key       types.NamespacedName
	log       *zap.SugaredLogger
	ready     counter
	collector *metrics.MetricCollector
	observed  *observations

	mu      sync.Mutex
	pa      *autoscalingv1alpha1.PodAutoscaler
	spec    scaling.DeciderSpec
	decider scaling.UniScaler
	latest  scaling.DeciderStatus // the decider's last valid answer; DesiredScale is -1 before the first
	state   state
	closed  bool
}

// New makes a Scaler or says, all at once, what of the revision cannot be honoured. Like Knative's, the decider starts
// in panic mode, by the wall clock, if more than one replica is ready already. The collector keeps a goroutine until Close.
func New(o Options) (*Scaler, error) {
	if o.Revision == nil || o.Ready == nil {
		return nil, errors.New("autoscale: Revision and Ready are required")
	}
	cfg := o.Config
	if cfg == nil {
		var err error
		if cfg, err = LoadConfig(nil); err != nil {
			return nil, err
		}
	}
	if err := ValidateWith(o.Revision, cfg); err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = zap.NewNop().Sugar()
	}
	pa := podAutoscaler(o.Revision)
	collector, err := collect(pa, cfg, log)
	if err != nil {
		return nil, err
	}
	s := &Scaler{
		cfg: cfg, key: types.NamespacedName{Namespace: pa.Namespace, Name: pa.Name}, log: log,
		ready: counter(o.Ready), collector: collector, observed: &observations{},
		pa: pa, spec: kparesources.MakeDecider(pa, cfg).Spec,
	}
	spec := s.spec
	s.decider = scaling.New(attribute.Set{}, s.observed, pa.Namespace, pa.Name, collector, s.ready, &spec)
	s.latest = firstStatus(s.spec)
	s.state = firstState(pa, cfg, o.Initialized)
	return s, nil
}

// collect makes the collector with the revision's windows. Nothing is scraped: Record feeds it.
func collect(pa *autoscalingv1alpha1.PodAutoscaler, cfg *autoscalerconfig.Config, log *zap.SugaredLogger) (*metrics.MetricCollector, error) {
	noScraper := func(*autoscalingv1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) { return nil, nil }
	collector := metrics.NewMetricCollector(noScraper, log)
	return collector, collector.CreateOrUpdate(aresources.MakeMetric(pa, scrapeTarget(pa, cfg), cfg))
}

// firstStatus is what MultiScaler.createScaler says before the first decision.
func firstStatus(spec scaling.DeciderSpec) scaling.DeciderStatus {
	status := scaling.DeciderStatus{DesiredScale: -1}
	switch tbc := spec.TargetBurstCapacity; tbc {
	case -1, 0:
		status.ExcessBurstCapacity = int32(tbc)
	default:
		status.ExcessBurstCapacity = int32(float64(spec.InitialScale)*spec.TotalValue - tbc)
	}
	return status
}

// Record takes what one replica, or what stands before them all, saw over the second before now. Stats of several
// reporters in one second add up. Report every second while there is a replica, also when it is idle: as on Knative, a
// revision without any data keeps its scale. A stat with a value that no load can have is dropped: one NaN in a running
// window would stay there for good.
func (s *Scaler) Record(now time.Time, st metrics.Stat) {
	for _, v := range []float64{
		st.AverageConcurrentRequests, st.AverageProxiedConcurrentRequests, st.RequestCount, st.ProxiedRequestCount,
	} {
		if !(v >= 0 && v <= maxLoad) {
			return
		}
	}
	s.collector.Record(s.key, now, st)
}

// Tick decides. Call it every TickInterval, and at once when a request arrives at zero replicas, after a Record that
// has this request in it.
func (s *Scaler) Tick(now time.Time) Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready, _ := s.ready()
	s.state.begin(now)
	if result := s.decider.Scale(s.log, now); result.ScaleValid {
		s.latest = scaling.DeciderStatus{
			DesiredScale: result.DesiredPodCount, ExcessBurstCapacity: result.ExcessBurstCapacity,
		}
	}
	s.observed.read()
	var why reason
	s.reconcile(now, ready, &why)
	return Decision{
		Time:             now,
		Wanted:           int(s.state.replicas),
		Desired:          int(s.latest.DesiredScale),
		Panic:            s.observed.value(gaugePanic) > 0,
		Stable:           s.observed.stable(),
		PanicConcurrency: s.observed.panic(),
		Target:           s.spec.TargetValue,
		ExcessBurst:      int(s.latest.ExcessBurstCapacity),
		Reason:           s.sentence(ready, why),
	}
}

// SetReachable says whether any traffic or tag points to the revision. If not, min-scale and initial-scale do not hold
// and it goes down without delay. A new Scaler is reachable.
func (s *Scaler) SetReachable(reachable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := autoscalingv1alpha1.ReachabilityReachable
	if !reachable {
		want = autoscalingv1alpha1.ReachabilityUnreachable
	}
	if s.pa.Spec.Reachability == want {
		return
	}
	s.pa.Spec.Reachability = want
	s.spec = kparesources.MakeDecider(s.pa, s.cfg).Spec
	spec := s.spec
	s.decider.Update(&spec)
}

// Initialized says whether the revision has reached its initial-scale, for Options.Initialized of a later run.
func (s *Scaler) Initialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.initialized
}

// Close ends the collector. It may be called more than once; after it the decider has no data.
func (s *Scaler) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.collector.Delete(s.key.Namespace, s.key.Name)
	s.decider.OnDelete()
}

// counter is Options.Ready as Knative's resources.EndpointsCounter.
type counter func() (ready, notReady int)

func (c counter) ReadyCount() (int, error) {
	ready, _ := c()
	return ready, nil
}

func (c counter) NotReadyCount() (int, error) {
	_, notReady := c()
	return notReady, nil
}
