package measure

import (
	"math"
	"slices"
	"strings"

	"weir.dev/weir/loadtest/scenario"
)

// Finish ends the run and judges it.
func (r *Recorder) Finish(thresholds []scenario.Threshold) Run {
	r.mu.Lock()
	r.run.Running = false
	r.mu.Unlock()
	run := r.Snapshot(0)
	run.Thresholds = make([]Verdict, 0, len(thresholds))
	for _, t := range thresholds {
		run.Thresholds = append(run.Thresholds, run.judge(t))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run.Thresholds = run.Thresholds
	return run
}

// judge says whether a threshold holds. One without a value does not hold.
func (r *Run) judge(t scenario.Threshold) Verdict {
	v := Verdict{Text: t.Text, Unit: t.Unit}
	if t.Base != "" {
		base := r.judge(scenario.Threshold{Metric: t.Metric, Of: t.Base, Unit: t.Unit})
		if v.Missing = base.Missing; v.Missing != "" {
			return v
		}
		t.Value, t.Base = t.Value/100*base.Value, ""
	}
	switch t.Metric {
	case "replicas", "max_replicas", "min_replicas", "last_replicas":
		return r.judgeReplicas(t, v)
	case "memory", "memory_growth":
		return r.judgeMemory(t, v)
	}
	s, ok := r.summary(t.Of)
	if !ok {
		v.Missing = "no request was made"
		return v
	}
	share := func(n int) float64 { return 100 * float64(n) / float64(max(1, s.Requests)) }
	switch t.Metric {
	case "p50":
		v.Value = s.Latencies.P50
	case "p90":
		v.Value = s.Latencies.P90
	case "p95":
		v.Value = s.Latencies.P95
	case "p99":
		v.Value = s.Latencies.P99
	case "p99.9":
		v.Value = s.Latencies.P999
	case "max":
		v.Value = s.Latencies.Max
	case "mean":
		v.Value = s.Latencies.Mean
	case "refused_p99":
		v.Value = s.RefusedP99
	case "refused_answer_p99":
		v.Value = s.RefusedAnswerP99
	case "errors":
		v.Value = share(s.Requests - s.OK)
	case "refused":
		v.Value = share(s.Refused)
	case "failed":
		v.Value = share(s.Failed + s.Hasty)
	case "requests":
		v.Value = float64(s.Requests)
	case "cold_starts":
		v.Value = float64(s.Cold)
	case "rate":
		v.Value = s.Rate
	case "goodput":
		v.Value = s.Goodput
	case "goodput_median":
		v.Value, v.Missing = r.median(t.Of, func(row Row) float64 { return row.OK })
	case "goodput_left":
		v.Value, v.Missing = r.median(t.Of, func(row Row) float64 { return row.OK / (float64(r.CPUs) - row.Generator) })
	}
	if v.Missing != "" {
		return v
	}
	if s.OK == 0 && t.Unit == "ms" && !strings.HasPrefix(t.Metric, "refused_") {
		v.Missing = "no request had a good answer"
		return v
	}
	v.Holds = t.Holds(v.Value)
	return v
}

// median is that of the seconds of a stage; of the whole run's for "". A second that the machine gave to others hardly moves it.
func (r *Run) median(stage string, value func(Row) float64) (v float64, missing string) {
	var all []float64
	for _, row := range r.Rows {
		in := func(s Span) bool { return s.Name == stage && row.T > s.Begin && row.T <= s.End }
		if stage == "" || slices.ContainsFunc(r.Stages, in) {
			all = append(all, value(row))
		}
	}
	if len(all) == 0 {
		return 0, "there is no second of a stage of this name"
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2, ""
}

// summary is that of a stage or a load; of the whole run for "".
func (r *Run) summary(name string) (Summary, bool) {
	for _, kind := range []string{"run", "stage", "load"} {
		for _, s := range r.Summaries {
			if s.Name == name && s.Kind == kind && s.Requests > 0 {
				return s, true
			}
		}
	}
	return Summary{}, false
}

// judgeReplicas looks at every second of a service or revision: replicas has to hold in each.
func (r *Run) judgeReplicas(t scenario.Threshold, v Verdict) Verdict {
	least, most, last := math.Inf(1), math.Inf(-1), 0.0
	var broken *float64
	for _, row := range r.Rows {
		if row.Revisions == nil {
			continue
		}
		n := 0.0
		for _, rev := range r.Revisions {
			if rev.Name == t.Of || rev.Service == t.Of {
				n += float64(row.Revisions[rev.Name].Ready)
			}
		}
		least, most, last = min(least, n), max(most, n), n
		if broken == nil && !t.Holds(n) {
			broken = &n
		}
	}
	known := false
	for _, rev := range r.Revisions {
		known = known || rev.Name == t.Of || rev.Service == t.Of
	}
	if !known || math.IsInf(least, 0) {
		v.Missing = "the engine has no service or revision of this name"
		return v
	}
	switch t.Metric {
	case "replicas":
		v.Value, v.Holds = last, broken == nil
		if broken != nil {
			v.Value = *broken
		}
		return v
	case "max_replicas":
		v.Value = most
	case "min_replicas":
		v.Value = least
	case "last_replicas":
		v.Value = last
	}
	v.Holds = t.Holds(v.Value)
	return v
}
