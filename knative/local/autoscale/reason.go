package autoscale

import (
	"fmt"
	"strings"
	"time"

	"knative.dev/serving/pkg/apis/autoscaling"
)

// reason collects the rules that spoke in a decision, in order.
type reason struct{ rules []string }

func (r *reason) add(rule string) { r.rules = append(r.rules, rule) }

// sentence writes the decision's numbers and the rules that changed it as one sentence.
func (s *Scaler) sentence(ready int, why reason) string {
	var b strings.Builder
	if s.latest.DesiredScale >= 0 {
		noun := "requests in flight"
		if s.spec.ScalingMetric == autoscaling.RPS {
			noun = "requests per second"
		}
		fmt.Fprintf(&b, "%.4g %s (%.4g in the panic window) at a target of %.4g with %d ready want %d",
			s.observed.stable(), noun, s.observed.panic(), s.spec.TargetValue, ready, s.latest.DesiredScale)
		if s.observed.value(gaugePanic) > 0 {
			b.WriteString(" in panic mode")
		}
	}
	for _, rule := range why.rules {
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		b.WriteString(rule)
	}
	return b.String()
}

// round makes durations readable in a sentence.
func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
