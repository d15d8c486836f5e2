package router

import (
	"errors"
	"slices"
	"strconv"
	"strings"
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
	phases   *prometheus.HistogramVec

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
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "weir_router_cold_start_seconds",
			Help:    "What the phases of a cold start took: queue is all of the wait; process, library, load, warm and notice are the replica's start; predict is the first answer.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 16),
		}, []string{"model", "revision", "phase"}),
		revisions: map[string]bool{},
	}
	var problems []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.cold, m.phases} {
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
		m.observePhases(model, revision, x.phases)
	}
}

// coldPhases are the phases of a cold start that an engine may tell in Server-Timing.
var coldPhases = []string{"queue", "process", "library", "load", "warm", "notice", "predict"}

// observePhases reads NAME;dur=MS, …; what it does not know it leaves out.
func (m *metrics) observePhases(model, revision, timing string) {
	for entry := range strings.SplitSeq(timing, ",") {
		name, dur, _ := strings.Cut(strings.TrimSpace(entry), ";dur=")
		ms, err := strconv.ParseFloat(dur, 64)
		if err == nil && slices.Contains(coldPhases, name) {
			m.phases.WithLabelValues(model, revision, name).Observe(ms / 1000)
		}
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
			m.phases.DeletePartialMatch(gone)
		}
	}
	m.revisions = now
}
