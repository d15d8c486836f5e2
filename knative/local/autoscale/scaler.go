package autoscale

import (
	"time"

	"go.uber.org/zap"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"knative.dev/serving/pkg/autoscaler/metrics"
)

// TickInterval is how often Tick is to be called; it is the decider's own (scaling.tickInterval).
const TickInterval = 2 * time.Second

// Options say what to scale and by which settings.
type Options struct {
	// Revision has the annotations, the containerConcurrency and the creation time. It is not changed.
	Revision *servingv1.Revision
	// Config is config-autoscaler. If nil, Knative's defaults.
	Config *autoscalerconfig.Config
	// Ready counts the replicas that answer and those that have been started and do not yet. It is called in New and
	// in Tick, never concurrently by one Scaler.
	Ready func() (ready, notReady int)
	// Log takes the decider's own lines. If nil, they are dropped.
	Log *zap.SugaredLogger
}

// Scaler decides for one revision. It is safe for concurrent use.
type Scaler struct{}

// New makes a Scaler or says, all at once, what of the revision cannot be honoured.
func New(o Options) (*Scaler, error) { return &Scaler{}, Validate(o.Revision) }

// Record takes what one replica, or what stands before them, saw over the second before now.
func (s *Scaler) Record(now time.Time, st metrics.Stat) {}

// Tick decides. Call it every TickInterval, and at once after a request has arrived at zero replicas.
func (s *Scaler) Tick(now time.Time) Decision { return Decision{Time: now, Wanted: 1} }

// SetReachable says whether any traffic or tag points to the revision. If not, min-scale does not hold.
func (s *Scaler) SetReachable(reachable bool) {}

// Close frees what the Scaler holds.
func (s *Scaler) Close() {}
