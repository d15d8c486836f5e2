package router

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir.dev/weir/knative"
)

// metrics are the router's. Their labels come from the routing table, never from a request, so their number is bounded.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	cold     *prometheus.CounterVec

	mu        sync.Mutex
	revisions map[string]bool // those that had series at the last keep
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_router_requests_total", Help: "Requests answered, by model, revision and status code; no model for the router's own answers.",
		}, []string{"model", "revision", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_router_request_seconds", Help: "Time from a request to the end of its answer, by model and revision.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"model", "revision"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_router_requests_in_flight", Help: "Requests sent to a model and not answered yet.",
		}, []string{"model"}),
		cold: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_router_cold_starts_total", Help: "Requests that waited for a replica to start.",
		}, []string{"model", "revision"}),
		revisions: map[string]bool{},
	}
	var problems []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.cold} {
		problems = append(problems, reg.Register(c))
	}
	return m, errors.Join(problems...)
}

func (m *metrics) observe(x *exchange, status int, took time.Duration) {
	model, revision := x.target.Model, x.target.Revision
	m.requests.WithLabelValues(model, revision, strconv.Itoa(status)).Inc()
	if model == "" {
		return
	}
	m.seconds.WithLabelValues(model, revision).Observe(took.Seconds())
	if x.cold {
		m.cold.WithLabelValues(model, revision).Inc()
	}
}

// keep forgets the series of revisions that are gone.
func (m *metrics) keep(services []knative.ServiceStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := map[string]bool{}
	for _, s := range services {
		for _, r := range s.Revisions {
			now[r.Name] = true
		}
	}
	for revision := range m.revisions {
		if !now[revision] {
			gone := prometheus.Labels{"revision": revision}
			m.requests.DeletePartialMatch(gone)
			m.seconds.DeletePartialMatch(gone)
			m.cold.DeletePartialMatch(gone)
		}
	}
	m.revisions = now
}
