package later

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Where an attempt goes, and what becomes of an event.
const (
	toModel, toSink, toDeadLetter = "model", "sink", "dead_letter"

	outcomeAccepted, outcomeRefused, outcomeDelivered, outcomeDead, outcomeDropped = "accepted", "refused", "delivered", "dead_letter", "dropped"
)

type metrics struct {
	events   *prometheus.CounterVec
	attempts *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	waiting  prometheus.GaugeFunc
}

func newMetrics(j *journal) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_router_later_events_total", Help: "Events to answer later, by what became of them: accepted, refused, delivered, dead_letter, dropped.",
		}, []string{"outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_router_later_attempts_total", Help: "Attempts at the model, the sink and the dead letter, by result: ok, failed.",
		}, []string{"to", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_router_later_seconds", Help: "Time from accepting an event to its end, by what became of it.",
			Buckets: prometheus.ExponentialBuckets(.005, 4, 10),
		}, []string{"outcome"}),
		waiting: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_router_later_waiting", Help: "Events that were accepted and are not delivered yet.",
		}, func() float64 { return float64(j.waiting()) }),
	}
	for _, outcome := range []string{outcomeAccepted, outcomeRefused, outcomeDelivered, outcomeDead, outcomeDropped} {
		m.events.WithLabelValues(outcome)
	}
	return m
}

func (m *metrics) register(reg prometheus.Registerer) error {
	var problems []error
	for _, c := range []prometheus.Collector{m.events, m.attempts, m.seconds, m.waiting} {
		problems = append(problems, reg.Register(c))
	}
	return errors.Join(problems...)
}

func (m *metrics) attempt(to string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.attempts.WithLabelValues(to, result).Inc()
}
