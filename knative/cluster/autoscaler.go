package cluster

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"weir.dev/weir/knative"
)

// autoscalerMetrics is where the API server passes on what Knative's autoscaler says of itself.
const autoscalerMetrics = "/api/v1/namespaces/knative-serving/services/autoscaler:9090/proxy/metrics"

// numbers are those of a decision of Knative's autoscaler, by the names of its scaling/metrics.go.
type numbers struct {
	desired                           int
	panics                            bool
	stable, panicMetric, target, more float64
	unit                              string
}

// decide puts the numbers into a decision.
func (n numbers) decide(d *knative.Decision) {
	d.Desired, d.Panic, d.Stable, d.PanicConcurrency, d.Target, d.ExcessBurst = n.desired, n.panics, n.stable, n.panicMetric, n.target, int(n.more)
	window, metric := "stable", n.stable
	if n.panics {
		window, metric = "panic", n.panicMetric
	}
	d.Reason = fmt.Sprintf("%.1f %s in the %s window, %.1f aimed at for each replica", metric, n.unit, window, n.target)
}

// autoscaler returns what Knative's autoscaler last came to, by revision.
func (c *Client) autoscaler(ctx context.Context) (map[string]numbers, error) {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	data, err := c.read(ctx, autoscalerMetrics)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("its metrics: %w", err)
	}
	all := map[string]numbers{}
	for name, family := range families {
		name, ok := strings.CutPrefix(name, "kn_revision_")
		if !ok {
			continue
		}
		for _, m := range family.GetMetric() {
			if label(m, "k8s_namespace_name") != c.namespace {
				continue
			}
			revision := label(m, "kn_revision_name")
			n := all[revision]
			n.set(name, m.GetGauge().GetValue())
			all[revision] = n
		}
	}
	return all, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// set takes one of the autoscaler's gauges.
func (n *numbers) set(name string, value float64) {
	switch name {
	case "pods_desired":
		n.desired = int(value)
	case "panic_mode":
		n.panics = value > 0
	case "capacity_excess":
		n.more = value
	case "concurrency_stable", "rps_stable":
		n.stable, n.unit = value, "requests in flight"
		if strings.HasPrefix(name, "rps") {
			n.unit = "requests a second"
		}
	case "concurrency_panic", "rps_panic":
		n.panicMetric = value
	case "concurrency_target", "rps_target":
		n.target = value
	}
}

// utilization is how much of the processors that they ask for a revision's replicas use, and should, in percent.
type utilization struct {
	current, target, least int32
	known                  bool
}

func utilizationOf(hpa *autoscalingv2.HorizontalPodAutoscaler) (u utilization) {
	u.least = 1
	if hpa.Spec.MinReplicas != nil {
		u.least = *hpa.Spec.MinReplicas
	}
	for _, m := range hpa.Spec.Metrics {
		if m.Resource != nil && m.Resource.Target.AverageUtilization != nil {
			u.target = *m.Resource.Target.AverageUtilization
		}
	}
	for _, m := range hpa.Status.CurrentMetrics {
		if m.Resource != nil && m.Resource.Current.AverageUtilization != nil {
			u.current, u.known = *m.Resource.Current.AverageUtilization, true
		}
	}
	return u
}

// decide puts the use into a decision of Kubernetes' autoscaler.
func (u utilization) decide(d *knative.Decision) {
	d.Target, d.Reason = float64(u.target), "Kubernetes' autoscaler knows nothing of the processors yet"
	if u.known {
		d.Stable = float64(u.current)
		d.Reason = fmt.Sprintf("the processors are used at %d %% of what is asked for, %d %% are aimed at", u.current, u.target)
	}
}
