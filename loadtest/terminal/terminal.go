// Package terminal shows a run in a terminal: a block of lines that is drawn again every second, or a line now and then
// where nobody watches.
package terminal

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
)

// every is how many seconds lie between the lines where nobody watches.
const every = 10

// View shows a run. Its methods are called by one goroutine at a time.
type View struct {
	w     io.Writer
	live  bool
	lines int // of the block that is drawn
	n     int
	stage string
}

// New makes a view. live says that w is a terminal.
func New(w io.Writer, live bool) *View { return &View{w: w, live: live} }

// Row shows a second.
func (v *View) Row(row measure.Row, states []attack.State) {
	stages := make([]string, 0, len(states))
	for _, s := range states {
		if s.Stage != "" {
			stages = append(stages, s.Stage)
		}
	}
	stage := strings.Join(stages, ", ")
	v.n++
	if !v.live {
		if v.n%every == 1 || stage != v.stage {
			fmt.Fprintf(v.w, "%s  %s\n", v.first(row, stage), strings.Join(replicas(row), "  "))
		}
		v.stage = stage
		return
	}
	lines := append([]string{v.first(row, stage)}, replicas(row)...)
	if v.lines > 0 {
		fmt.Fprintf(v.w, "\x1b[%dA", v.lines)
	}
	for _, l := range lines {
		fmt.Fprintf(v.w, "\x1b[2K%s\n", l)
	}
	fmt.Fprint(v.w, "\x1b[J")
	v.lines = len(lines)
}

func (v *View) first(row measure.Row, stage string) string {
	return fmt.Sprintf("%5.0fs  %-12s users %-4d rate %-6.4g %7.1f/s ok  %s  refused %.4g/s  failed %.4g/s",
		row.T, stage, row.Users, row.Rate, row.OK, latencies(row), row.Refused, row.Failed)
}

func latencies(row measure.Row) string {
	if row.P50 == nil {
		return "p50 -  p95 -  p99 -"
	}
	return fmt.Sprintf("p50 %s  p95 %s  p99 %s", Latency(*row.P50), Latency(*row.P95), Latency(*row.P99))
}

// Latency writes milliseconds for people.
func Latency(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.2fs", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.1fms", ms)
}

// replicas are the revisions that do something, a line each.
func replicas(row measure.Row) []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(row.Revisions)) {
		if r := row.Revisions[name]; r.Ready > 0 || r.Wanted > 0 || r.Queue > 0 {
			lines = append(lines, fmt.Sprintf("%s %d/%d ready, %.1f at work, %d wait", name, r.Ready, r.Wanted, r.Concurrency, r.Queue))
		}
	}
	return lines
}

// Summary prints what came of a run.
func Summary(w io.Writer, run measure.Run) {
	for _, s := range run.Summaries {
		if s.Kind == "load" && len(run.Summaries) > 1 && len(loads(run)) < 2 {
			continue
		}
		name := s.Name
		if s.Kind == "run" {
			name = "all"
		}
		row := measure.Row{}
		if l := s.Latencies; s.OK > 0 {
			row.P50, row.P95, row.P99 = &l.P50, &l.P95, &l.P99
		}
		fmt.Fprintf(w, "%-16s %7d requests  %7.1f ok/s  %s  refused %d  failed %d  cold starts %d\n",
			name, s.Requests, s.Goodput, latencies(row), s.Refused, s.Failed, s.Cold)
		if s.Refused > 0 && s.Kind != "load" {
			fmt.Fprintf(w, "%-16s refusals p99 %s, without connecting %s; connections opened %d\n",
				"", Latency(s.RefusedP99), Latency(s.RefusedAnswerP99), s.Opened)
		}
	}
	for i, f := range run.Failures {
		if i == 5 {
			fmt.Fprintf(w, "and %d other kinds of failures\n", len(run.Failures)-i)
			break
		}
		fmt.Fprintf(w, "%d x %s %s\n", f.Count, status(f.Status), f.Message)
	}
	for _, n := range run.Notes {
		fmt.Fprintln(w, n)
	}
	for _, t := range run.Thresholds {
		mark := "holds "
		if !t.Holds {
			mark = "BROKEN"
		}
		value := fmt.Sprintf("%.4g%s", t.Value, t.Unit)
		if t.Missing != "" {
			value = t.Missing
		}
		fmt.Fprintf(w, "%s %s (%s)\n", mark, t.Text, value)
	}
}

func loads(run measure.Run) []string {
	var names []string
	for _, s := range run.Summaries {
		if s.Kind == "load" {
			names = append(names, s.Name)
		}
	}
	return names
}

func status(code int) string {
	if code == 0 {
		return "no answer:"
	}
	return fmt.Sprintf("status %d", code)
}
