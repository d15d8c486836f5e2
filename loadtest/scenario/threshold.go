package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Threshold is one thing that has to hold, such as p95 < 300ms, errors < 0.1% or replicas(embed) == 1.
type Threshold struct {
	Text string
	// Metric is p50, p90, p95, p99, p99.9, max, mean, refused_p99, refused_answer_p99 (milliseconds), errors, refused, failed (per cent of
	// the requests: all that have no good answer, the refusals, and all others with the refusals that do not say when to come again), requests,
	// cold_starts, rate, goodput (a second), goodput_median (that of a stage's seconds), goodput_left (the same for each processor that the
	// sender leaves), or of a service or revision replicas, max_replicas,
	// min_replicas, last_replicas, memory (MB, all replicas together, at its most) and memory_growth (MB a replica, from the second
	// to the last tenth of the run); the last two also of weir, the engine's own process.
	Metric string
	// Of is the stage or load, service or revision; empty for all.
	Of    string
	Op    string
	Value float64
	Unit  string
	// Base, if it is not empty, is the stage or load whose metric Value is per cent of, as in
	// goodput(overload) > 90% of goodput(capacity).
	Base string
}

var (
	thresholdPattern = regexp.MustCompile(`^\s*([a-z_]+[0-9.]*)\s*(?:\(([^)]*)\))?\s*(<=|>=|==|!=|<|>)\s*([0-9.]+)\s*([a-zA-Z%/]*)\s*$`)

	sharePattern = regexp.MustCompile(`^(.*)%\s+of\s+([a-z_]+[0-9.]*)\s*\(([^)]+)\)\s*$`)

	latencies = []string{"p50", "p90", "p95", "p99", "p99.9", "max", "mean", "refused_p99", "refused_answer_p99"}
	shares    = []string{"errors", "refused", "failed"}
	counts    = []string{"requests", "cold_starts", "rate", "goodput", "goodput_median", "goodput_left"}
	ofService = []string{"replicas", "max_replicas", "min_replicas", "last_replicas", "memory", "memory_growth"}
)

const thresholdHelp = "expected METRIC OP VALUE such as p95 < 300ms, errors < 0.1%, replicas(embed) == 1"

// ParseThreshold reads a threshold.
func ParseThreshold(text string) (Threshold, error) {
	if m := sharePattern.FindStringSubmatch(text); m != nil {
		return parseShare(text, m)
	}
	m := thresholdPattern.FindStringSubmatch(text)
	if m == nil {
		return Threshold{}, fmt.Errorf("%q: %s", text, thresholdHelp)
	}
	t := Threshold{Text: strings.TrimSpace(text), Metric: m[1], Of: strings.TrimSpace(m[2]), Op: m[3], Unit: m[5]}
	var err error
	switch {
	case slices.Contains(latencies, t.Metric):
		var d time.Duration
		d, err = time.ParseDuration(m[4] + m[5])
		t.Value, t.Unit = float64(d)/float64(time.Millisecond), "ms"
	case slices.Contains(shares, t.Metric):
		if t.Unit != "%" {
			return t, fmt.Errorf("%q: expected per cent, such as %s < 0.1%%", text, t.Metric)
		}
		t.Value, err = strconv.ParseFloat(m[4], 64)
	case slices.Contains(counts, t.Metric), slices.Contains(ofService, t.Metric):
		if unit := t.unit(); t.Unit != "" && t.Unit != unit {
			return t, fmt.Errorf("%q: expected a plain number or %q after it", text, unit)
		}
		t.Unit = t.unit()
		t.Value, err = strconv.ParseFloat(m[4], 64)
		if t.ofReplicas() && t.Of == "" {
			return t, fmt.Errorf("%q: expected a service or a revision, as in %s(embed)", text, t.Metric)
		}
	default:
		return t, fmt.Errorf("%q: there is no metric %s: it is one of %s", text, t.Metric,
			strings.Join(slices.Concat(latencies, shares, counts, ofService), ", "))
	}
	if err != nil {
		return t, fmt.Errorf("%q: %s: %w", text, thresholdHelp, err)
	}
	return t, nil
}

// parseShare reads a threshold that is a share of the same metric of another stage or load.
func parseShare(text string, m []string) (Threshold, error) {
	left := thresholdPattern.FindStringSubmatch(m[1])
	if left == nil || left[5] != "" || left[1] != m[2] || !slices.Contains(slices.Concat(latencies, counts), m[2]) {
		return Threshold{}, fmt.Errorf("%q: expected a share of the same metric, as in goodput(overload) > 90%% of goodput(capacity)", text)
	}
	t := Threshold{Text: strings.TrimSpace(text), Metric: m[2], Of: strings.TrimSpace(left[2]), Op: left[3], Base: strings.TrimSpace(m[3])}
	if t.Unit = t.unit(); slices.Contains(latencies, t.Metric) {
		t.Unit = "ms"
	}
	var err error
	if t.Value, err = strconv.ParseFloat(left[4], 64); err != nil {
		return t, fmt.Errorf("%q: %s: %w", text, thresholdHelp, err)
	}
	return t, nil
}

func (t Threshold) unit() string {
	switch t.Metric {
	case "rate", "goodput", "goodput_median", "goodput_left":
		return "/s"
	case "memory", "memory_growth":
		return "MB"
	}
	return ""
}

func (t Threshold) ofReplicas() bool { return slices.Contains(ofService, t.Metric) }

// Holds says whether a value keeps the threshold.
func (t Threshold) Holds(v float64) bool {
	switch t.Op {
	case "<":
		return v < t.Value
	case "<=":
		return v <= t.Value
	case ">":
		return v > t.Value
	case ">=":
		return v >= t.Value
	case "==":
		return v == t.Value
	case "!=":
		return v != t.Value
	}
	return false
}
