package serve

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics of one Server, in a registry of its own, so that two servers can live in one process.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	handler  http.Handler
}

func newMetrics(name string, more []prometheus.Collector) *metrics {
	constant := prometheus.Labels{"model": name}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_function_requests_total", Help: "Requests finished, by API and class of status.", ConstLabels: constant,
		}, []string{"api", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_function_request_seconds", Help: "Seconds from a request's header to the end of its answer.", ConstLabels: constant,
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 17),
		}, []string{"api", "status"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_function_in_flight", Help: "Predictions that run now.", ConstLabels: constant,
		}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.requests, m.seconds, m.inFlight, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(more...)
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return m
}

func (m *metrics) observe(a api, status int, took time.Duration) {
	class := strconv.Itoa(status/100) + "xx"
	m.requests.WithLabelValues(string(a), class).Inc()
	m.seconds.WithLabelValues(string(a), class).Observe(took.Seconds())
}
