package measure

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The histograms reach from a microsecond to ten minutes and keep three digits.
const (
	lowest, highest = 1, int64(10 * time.Minute / time.Microsecond)
	digits          = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(lowest, highest, digits) }

func micros(d time.Duration) int64 { return min(max(d.Microseconds(), lowest), highest) }

func millis(us int64) float64 { return float64(us) / 1000 }

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	if h.TotalCount() == 0 {
		return Quantiles{}
	}
	at := func(q float64) float64 { return millis(h.ValueAtQuantile(q)) }
	return Quantiles{P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), Max: millis(h.Max()), Mean: h.Mean() / 1000}
}

// quantile is nil for an empty histogram.
func quantile(h *hdrhistogram.Histogram, q float64) *float64 {
	if h.TotalCount() == 0 {
		return nil
	}
	v := millis(h.ValueAtQuantile(q))
	return &v
}
