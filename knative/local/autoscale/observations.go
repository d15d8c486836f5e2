package autoscale

import (
	"context"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// The decider's gauges (scaling/metrics.go). The stable and panic value have the scaling metric in their name.
const (
	gaugePanic             = "kn.revision.panic.mode"
	gaugeConcurrencyStable = "kn.revision.concurrency.stable"
	gaugeConcurrencyPanic  = "kn.revision.concurrency.panic"
	gaugeRPSStable         = "kn.revision.rps.stable"
	gaugeRPSPanic          = "kn.revision.rps.panic"
)

// observations is the MeterProvider that the decider gets: its gauges are the only place where it tells its panic mode
// and the values it decided on. It is not safe for concurrent use.
type observations struct {
	noop.MeterProvider
	callback metric.Callback
	values   map[string]float64
}

// read asks the decider for its gauges' present values.
func (o *observations) read() {
	o.values = make(map[string]float64, 6)
	if o.callback != nil {
		_ = o.callback(context.Background(), observer{values: o.values}) // the decider's callback never fails
	}
}

func (o *observations) value(name string) float64 { return o.values[name] }

// stable is the metric over the stable window; a decider has one of the two gauges.
func (o *observations) stable() float64 {
	return o.values[gaugeConcurrencyStable] + o.values[gaugeRPSStable]
}

func (o *observations) panic() float64 {
	return o.values[gaugeConcurrencyPanic] + o.values[gaugeRPSPanic]
}

// Meter implements metric.MeterProvider.
func (o *observations) Meter(string, ...metric.MeterOption) metric.Meter { return meter{o: o} }

type meter struct {
	noop.Meter
	o *observations
}

type intGauge struct {
	noop.Int64ObservableGauge
	name string
}

type floatGauge struct {
	noop.Float64ObservableGauge
	name string
}

func (meter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return intGauge{name: name}, nil
}

func (meter) Float64ObservableGauge(name string, _ ...metric.Float64ObservableGaugeOption) (metric.Float64ObservableGauge, error) {
	return floatGauge{name: name}, nil
}

func (m meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.o.callback = f
	return noop.Registration{}, nil
}

// observer takes the values of one reading.
type observer struct {
	noop.Observer
	values map[string]float64
}

func (ob observer) ObserveInt64(g metric.Int64Observable, v int64, _ ...metric.ObserveOption) {
	if g, ok := g.(intGauge); ok {
		ob.values[g.name] = float64(v)
	}
}

func (ob observer) ObserveFloat64(g metric.Float64Observable, v float64, _ ...metric.ObserveOption) {
	if g, ok := g.(floatGauge); ok {
		ob.values[g.name] = v
	}
}
