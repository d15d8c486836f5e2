package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/browser"
	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/measure"
)

// example is a run of a minute in which a model scales from one replica to three.
func example() measure.Run {
	run := measure.Run{
		Scenario: "autoscaling", Look: "The busy model gets replicas.", Engine: "local", Version: "test", CPUs: 2, Seconds: 60,
		Started: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		Notes:   []string{"A note </script><b>with markup</b>"},
		Stages:  []measure.Span{{Load: "imagenet", Name: "ramp", End: 30}, {Load: "imagenet", Name: "full", Begin: 30, End: 60}},
		Revisions: []measure.Revision{
			{Name: "imagenet-00001", Service: "imagenet"}, {Name: "embed-00001", Service: "embed"}, {Name: "idle-00001", Service: "idle"},
		},
		Decisions: []measure.Mark{{T: 12, Revision: "imagenet-00001", From: 1, Decision: knative.Decision{
			Wanted: 3, Stable: 6.5, PanicConcurrency: 11.25, Target: 2.8, Panic: true, Reason: "6.5 requests in flight at a target of 2.8 want 3",
		}}},
		Cold:       []measure.Cold{{T: 2, Revision: "imagenet-00001", Latency: 1234}},
		Failures:   []measure.Failure{{Load: "imagenet", Status: 503, Message: "queue is full", Count: 7, First: 30, Last: 40}, {Load: "imagenet", Message: "connection refused", Count: 2}},
		Thresholds: []measure.Verdict{{Text: "p95 < 300ms", Value: 200, Unit: "ms", Holds: true}, {Text: "errors < 0.1%", Value: 0.4, Unit: "%"}},
		Summaries: []measure.Summary{{
			Kind: "run", Requests: 2000, OK: 1991, Refused: 7, Failed: 2, Cold: 1, Goodput: 33.2, Latencies: measure.Quantiles{P50: 40, P95: 200, P99: 300},
		}},
	}
	for i := range 60 {
		t, p := float64(i+1), 20+float64(i)
		row := measure.Row{T: t, Users: i, Sent: t, OK: t * 0.9, Refused: t * 0.1, Generator: 0.1, Engine: &measure.Use{CPU: 0.2, Memory: 80}}
		if i != 20 {
			p95, p99 := 3*p, 3.1*p
			row.P50, row.P95, row.P99, row.RefusedP99, row.ConnectP99 = &p, &p95, &p99, &p95, &p
		}
		ready := 1 + i/20
		row.Revisions = map[string]measure.RevisionRow{
			"imagenet-00001": {Ready: ready, Wanted: min(3, ready+1), Concurrency: t / 10, Queue: i % 7, CPU: 0.5 * float64(ready), Memory: 300 * float64(ready),
				Replicas: map[string]measure.Use{"imagenet-00001-aaaaa": {CPU: 0.5, Memory: 300}}},
			"embed-00001": {Ready: 1, Wanted: 1, Memory: 200},
			"idle-00001":  {},
		}
		run.Rows = append(run.Rows, row)
	}
	return run
}

// keep writes a screenshot to $SCREENSHOTS for people, if that is set.
func keep(t *testing.T, name string, png []byte) {
	t.Helper()
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := example()
	if err := Write(dir, run); err != nil {
		t.Fatal(err)
	}
	other := example()
	other.Scenario, other.Seconds, other.Thresholds = "no-autoscaling", 90, other.Thresholds[:1]
	if _, err := WriteCompare(filepath.Join(dir, "compare.html"), run, other); err != nil {
		t.Fatal(err)
	}
	b := browser.Start(t)
	for _, tt := range []struct {
		name, file string
		width      int64
		dark       bool
		runs       int
	}{
		{name: "wide", file: FileHTML, width: 1280, runs: 1},
		{name: "narrow", file: FileHTML, width: 400, runs: 1},
		{name: "dark", file: FileHTML, width: 1280, dark: true, runs: 1},
		{name: "compare", file: "compare.html", width: 1280, runs: 2},
		{name: "compare narrow", file: "compare.html", width: 400, runs: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tab := b.Tab(t, browser.Options{Width: tt.width, Height: 900, Dark: tt.dark})
			address := (&url.URL{Scheme: "file", Path: filepath.Join(dir, tt.file)}).String()
			tab.Open(address)
			tab.WaitFor("document.body.dataset.drawn")
			checkPage(t, tab, tt.runs)
			if got := tab.Requests(); len(got) != 1 || got[0] != address {
				t.Errorf("the page asked for %q, want itself alone", got)
			}
			keep(t, "report-"+strings.ReplaceAll(tt.name, " ", "-")+".png", tab.Screenshot(""))
		})
	}
}

// checkPage looks for drawn charts, the tables' contents, and a page no wider than its window.
func checkPage(t *testing.T, tab *browser.Tab, runs int) {
	t.Helper()
	var empty []string
	tab.Eval(`[...document.querySelectorAll("[data-chart]")].filter((chart) => {
		if (chart.hidden) return false;
		const c = chart.querySelector("canvas");
		const pixels = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		const seen = new Set();
		for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) seen.add(pixels[i] + "," + pixels[i + 1] + "," + pixels[i + 2]);
		return seen.size < 3;
	}).map((chart) => chart.dataset.chart)`, &empty)
	if len(empty) > 0 {
		t.Errorf("charts without anything drawn: %q", empty)
	}
	// Two lines of a chart are told apart by colour or by dashes.
	var alike []string
	tab.Eval(`[...document.querySelectorAll("[data-chart]:not([hidden])")].filter((chart) => {
		const looks = [...chart.querySelectorAll(".legend i")].map((i) => getComputedStyle(i).borderTopColor + i.className);
		return new Set(looks).size < looks.length;
	}).map((chart) => chart.dataset.chart)`, &alike)
	if len(alike) > 0 {
		t.Errorf("charts with two lines that look the same: %q", alike)
	}
	var wide, charts, articles int
	tab.Eval("document.documentElement.scrollWidth - innerWidth", &wide)
	tab.Eval(`[...document.querySelectorAll("[data-chart]")].filter((chart) => chart.checkVisibility({ visibilityProperty: true })).length`, &charts)
	tab.Eval(`document.querySelectorAll("article.run").length`, &articles)
	if wide > 0 || charts != 11*runs || articles != runs {
		t.Errorf("%d pixels too wide, %d charts of %d runs; want none, %d, %d", wide, charts, articles, 11*runs, runs)
	}
	end := 60
	if runs > 1 {
		end = 90 // the longer one's, on both sides
	}
	for second, want := range map[int]string{
		12: "0:12 imagenet-00001 1 → 3: stable 6.50, panic window 11.25, target 2.80, in panic mode", 2: "0:02 imagenet-00001: waited 1.23 s for a start", 40: "",
	} {
		var told string
		tab.Eval(fmt.Sprintf(`(() => {
			const chart = document.querySelector("[data-chart=replicas]"), over = chart.querySelector(".u-over"), box = over.getBoundingClientRect();
			const at = { clientX: box.left + box.width * %d / %d, clientY: box.top + 20, bubbles: true };
			over.dispatchEvent(new MouseEvent("mouseenter", at));
			over.dispatchEvent(new MouseEvent("mousemove", at));
			return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(chart.querySelector(".told").textContent))));
		})()`, second, end), &told)
		if told != want {
			t.Errorf("the chart of replicas says %q at second %d, want %q", told, second, want)
		}
	}
	var tall int
	tab.Eval(`[...document.querySelectorAll(".verdict")].filter((v) => v.offsetHeight > 40).length`, &tall)
	if tall > 0 {
		t.Errorf("%d thresholds are drawn in more than a line's height", tall)
	}
	for selector, text := range map[string]string{
		".notes":                  "A note </script><b>with markup</b>",
		".verdicts p":             "1 of 2 thresholds broken",
		".verdict.broken":         "✗ errors < 0.1%: it was 0.40 %",
		"[data-table=decisions]":  "1 → 3",
		"[data-table=failures]":   "queue is full",
		"[data-table=exceptions]": "connection refused",
		"[data-table=cold]":       "1.23 s",
	} {
		tab.WaitText(selector, text)
	}
	if p := tab.Problems(); len(p) > 0 {
		t.Errorf("the page complained: %q", p)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := example()
	if err := Write(dir, run); err != nil {
		t.Fatal(err)
	}
	again, err := Read(dir)
	if err != nil || len(again.Rows) != len(run.Rows) || again.Decisions[0].Reason != run.Decisions[0].Reason || again.Rows[20].P50 != nil {
		t.Errorf("the run that was read back: %v, %d rows", err, len(again.Rows))
	}
	for name, rows := range map[string]int{FileRows: 61, FileSummaries: 2, FileFailures: 3, FileDecisions: 2} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all, err := csv.NewReader(f).ReadAll() // it checks that all rows have as many fields
		f.Close()
		if err != nil || len(all) != rows {
			t.Errorf("%s: %d rows, %v; want %d", name, len(all), err, rows)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, FilePNG))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil || img.Bounds().Dx() < 700 || len(data) > 300<<10 {
		t.Errorf("picture: %v, %v, %d bytes", err, img.Bounds(), len(data))
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "expected the folder of a report") {
		t.Errorf("a folder without a run: %v", err)
	}
}
