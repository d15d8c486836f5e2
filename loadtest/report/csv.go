package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"weir.dev/weir/loadtest/measure"
)

func table(w io.Writer, rows [][]string) error {
	return csv.NewWriter(w).WriteAll(rows)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return number(*v)
}

// Rows writes the run's seconds.
func Rows(w io.Writer, run measure.Run) error {
	head := []string{"seconds", "users", "rate", "sent", "ok", "refused", "failed", "p50_ms", "p95_ms", "p99_ms", "refused_p99_ms", "opened", "connect_p99_ms", "cold_starts", "sender_cpu", "weir_cpu", "weir_mb"}
	for _, r := range run.Revisions {
		for _, name := range []string{"ready", "starting", "wanted", "concurrency", "queue", "rps", "cpu", "mb"} {
			head = append(head, r.Name+"_"+name)
		}
	}
	rows := [][]string{head}
	for _, r := range run.Rows {
		row := []string{
			number(r.T), strconv.Itoa(r.Users), number(r.Rate), number(r.Sent), number(r.OK), number(r.Refused), number(r.Failed),
			optional(r.P50), optional(r.P95), optional(r.P99), optional(r.RefusedP99), number(r.Opened), optional(r.ConnectP99), strconv.Itoa(r.Cold), number(r.Generator),
		}
		if r.Engine != nil {
			row = append(row, number(r.Engine.CPU), number(r.Engine.Memory))
		} else {
			row = append(row, "", "")
		}
		for _, rev := range run.Revisions {
			x, ok := r.Revisions[rev.Name]
			if !ok {
				row = append(row, "", "", "", "", "", "", "", "")
				continue
			}
			row = append(row, strconv.Itoa(x.Ready), strconv.Itoa(x.Starting), strconv.Itoa(x.Wanted), number(x.Concurrency),
				strconv.Itoa(x.Queue), number(x.RPS), number(x.CPU), number(x.Memory))
		}
		rows = append(rows, row)
	}
	return table(w, rows)
}

// Summaries writes the totals of the run, its loads and stages.
func Summaries(w io.Writer, run measure.Run) error {
	rows := [][]string{{"kind", "name", "seconds", "requests", "ok", "refused", "failed", "cold_starts", "rate", "goodput",
		"p50_ms", "p90_ms", "p95_ms", "p99_ms", "p99.9_ms", "max_ms", "mean_ms", "seen_p50_ms", "seen_p95_ms", "seen_p99_ms", "refused_p99_ms", "refused_answer_p99_ms", "connect_p99_ms", "opened"}}
	for _, s := range run.Summaries {
		row := []string{s.Kind, s.Name, number(s.Seconds), strconv.Itoa(s.Requests), strconv.Itoa(s.OK), strconv.Itoa(s.Refused), strconv.Itoa(s.Failed), strconv.Itoa(s.Cold)}
		for _, v := range []float64{
			s.Rate, s.Goodput, s.Latencies.P50, s.Latencies.P90, s.Latencies.P95, s.Latencies.P99, s.Latencies.P999, s.Latencies.Max, s.Latencies.Mean,
			s.Seen.P50, s.Seen.P95, s.Seen.P99, s.RefusedP99, s.RefusedAnswerP99, s.ConnectP99, float64(s.Opened),
		} {
			row = append(row, number(v))
		}
		rows = append(rows, row)
	}
	return table(w, rows)
}

// Failures writes the kinds of failures.
func Failures(w io.Writer, run measure.Run) error {
	rows := [][]string{{"load", "status", "message", "count", "first_seconds", "last_seconds"}}
	for _, f := range run.Failures {
		rows = append(rows, []string{f.Load, strconv.Itoa(f.Status), f.Message, strconv.Itoa(f.Count), number(f.First), number(f.Last)})
	}
	return table(w, rows)
}

// Decisions writes the scaling decisions.
func Decisions(w io.Writer, run measure.Run) error {
	rows := [][]string{{"seconds", "time", "revision", "from", "wanted", "stable", "panic_concurrency", "target", "panic", "reason"}}
	for _, d := range run.Decisions {
		rows = append(rows, []string{
			number(d.T), d.Time.Format(time.RFC3339Nano), d.Revision, strconv.Itoa(d.From), strconv.Itoa(d.Wanted), number(d.Stable),
			number(d.PanicConcurrency), number(d.Target), strconv.FormatBool(d.Panic), d.Reason,
		})
	}
	return table(w, rows)
}
