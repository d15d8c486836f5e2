// Package terminal shows a run in a terminal: a block of lines that is drawn again every second, or a line now and then
// where nobody watches.
package terminal

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
)

// maxLines bounds the block, which has to be in sight as a whole.
const maxLines = 20

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
			line := fmt.Sprintf("%5.0fs  %-12s %s  %s  %s", row.T, stage, amounts(row, states), latencies(row), strings.Join(replicas(row), "  "))
			fmt.Fprintln(v.w, strings.TrimRight(line, " "))
		}
		v.stage = stage
		return
	}
	lines := []string{
		fmt.Sprintf("%5.0fs  %s", row.T, stage),
		"        " + amounts(row, states),
		"        " + latencies(row),
	}
	for _, l := range replicas(row) {
		lines = append(lines, "        "+l)
	}
	if more := len(lines) - maxLines; more > 0 {
		lines = append(lines[:maxLines-1], fmt.Sprintf("        and %d other revisions", more+1))
	}
	// Lines that are too long are cut, not wrapped: as many lines as were written are gone over again.
	fmt.Fprint(v.w, "\x1b[?7l")
	if v.lines > 0 {
		fmt.Fprintf(v.w, "\x1b[%dA", v.lines)
	}
	for _, l := range lines {
		fmt.Fprintf(v.w, "\x1b[2K%s\n", l)
	}
	fmt.Fprint(v.w, "\x1b[J\x1b[?7h")
	v.lines = len(lines)
}

// amounts are the users or arrivals that there are, and what becomes of their requests.
func amounts(row measure.Row, states []attack.State) string {
	open, closed := false, false
	for _, s := range states {
		open, closed = open || s.Rate > 0, closed || s.Closed || s.Users > 0
	}
	text := ""
	if closed || !open {
		text += fmt.Sprintf("users %-5d  ", row.Users)
	}
	if open {
		text += fmt.Sprintf("arrivals %-8s  ", number(row.Rate)+"/s")
	}
	return text + fmt.Sprintf("ok %-8s  refused %-6s  failed %s", number(row.OK)+"/s", number(row.Refused)+"/s", number(row.Failed)+"/s")
}

// number writes an amount for people.
func number(v float64) string {
	if v >= 100 || v == math.Trunc(v) {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
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
	totals(w, run)
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

// totals prints a table of the run, its loads if there are several, and its stages.
func totals(w io.Writer, run measure.Run) {
	shown := slices.Clone(run.Summaries)
	if len(loads(run)) < 2 {
		shown = slices.DeleteFunc(shown, func(s measure.Summary) bool { return s.Kind == "load" })
	}
	name := func(s measure.Summary) string {
		if s.Kind == "run" {
			return "all"
		}
		return s.Name
	}
	width := 0
	for _, s := range shown {
		width = max(width, utf8.RuneCountInString(name(s)))
	}
	const columns = "%-*s  %8s  %8s  %7s  %7s  %7s  %7s  %6s  %5s\n"
	fmt.Fprintf(w, columns, width, "", "requests", "ok/s", "p50", "p95", "p99", "refused", "failed", "cold")
	for _, s := range shown {
		p50, p95, p99 := "-", "-", "-"
		if l := s.Latencies; s.OK > 0 {
			p50, p95, p99 = Latency(l.P50), Latency(l.P95), Latency(l.P99)
		}
		fmt.Fprintf(w, columns, width, name(s), strconv.Itoa(s.Requests), number(s.Goodput), p50, p95, p99,
			strconv.Itoa(s.Refused), strconv.Itoa(s.Failed), strconv.Itoa(s.Cold))
		if s.Refused > 0 && s.Kind != "load" {
			fmt.Fprintf(w, "%-*s  refusals p99 %s, without connecting %s; connections opened %d\n",
				width, "", Latency(s.RefusedP99), Latency(s.RefusedAnswerP99), s.Opened)
		}
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
