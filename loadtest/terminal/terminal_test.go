package terminal

import (
	"fmt"
	"strings"
	"testing"

	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
)

func second(t float64, revisions int) (measure.Row, []attack.State) {
	p50, p95, p99 := 1.5, 20.4, 1500.0
	row := measure.Row{T: t, Users: 5000, Rate: 12345.6, OK: 10980.4, Refused: 7.5, P50: &p50, P95: &p95, P99: &p99, Revisions: map[string]measure.RevisionRow{}}
	for i := range revisions {
		row.Revisions[fmt.Sprintf("model-%05d", i)] = measure.RevisionRow{Ready: 1, Wanted: 2, Concurrency: 0.5, Queue: 3}
	}
	return row, []attack.State{{Stage: "up", Closed: true, Users: 5000}, {Stage: "wave", Rate: 12345.6}}
}

// TestLive draws the block anew over the last one: terminals wrap long lines, which would then be more than were written.
func TestLive(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	v := New(&out, true)
	v.Row(second(1, 1))
	first := out.String()
	for _, want := range []string{
		"    1s  up, wave\n", "users 5000   arrivals 12346/s   ok 10980/s   refused 7.5/s   failed 0/s\n",
		"p50 1.5ms  p95 20ms  p99 1.50s\n", "model-00000 1/2 ready, 0.5 at work, 3 wait\n",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("it lacks %q:\n%s", want, first)
		}
	}
	if !strings.HasPrefix(first, "\x1b[?7l") || !strings.HasSuffix(first, "\x1b[?7h") {
		t.Errorf("%q; want no wrapping while it is drawn", first)
	}
	out.Reset()
	v.Row(second(2, 40))
	if again := out.String(); !strings.HasPrefix(again, "\x1b[?7l\x1b[4A") || strings.Count(again, "\n") != maxLines || !strings.Contains(again, "and 24 other revisions") {
		t.Errorf("%q; want to go up over 4 lines, and write %d", again, maxLines)
	}
}

// TestPiped: where nobody watches there is a line now and then, without any control sequence.
func TestPiped(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	v := New(&out, false)
	for i := range 12 {
		v.Row(second(float64(i+1), 1))
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || strings.Contains(got, "\x1b") || !strings.Contains(got, "users 5000") {
		t.Errorf("%q", got)
	}
}

// TestSummary fits a terminal of 80 columns.
func TestSummary(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	q := measure.Quantiles{P50: 1.5, P95: 20.4, P99: 1500}
	Summary(&out, measure.Run{
		Summaries: []measure.Summary{
			{Kind: "run", Requests: 123456, OK: 123400, Goodput: 2047.9, Latencies: q, Failed: 56},
			{Kind: "load", Name: "digits", Requests: 123456, OK: 123400, Latencies: q, Failed: 56},
			{Kind: "stage", Name: "up", Requests: 50, Failed: 50},
		},
		Failures:   []measure.Failure{{Status: 400, Message: "bad", Count: 50}, {Message: "refused", Count: 6}},
		Thresholds: []measure.Verdict{{Text: "p95 < 1s", Value: 20.4, Unit: "ms", Holds: true}, {Text: "errors < 1%", Value: 45, Unit: "%"}},
	})
	const want = `     requests      ok/s      p50      p95      p99  refused  failed   cold
all    123456      2048    1.5ms     20ms    1.50s        0      56      0
up         50         0        -        -        -        0      50      0
50 x status 400 bad
6 x no answer: refused
holds  p95 < 1s (20.4ms)
BROKEN errors < 1% (45%)
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
