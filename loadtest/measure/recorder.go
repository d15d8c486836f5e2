package measure

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/attack"
)

const (
	// maxKinds bounds the kinds of failures that are told apart, maxColds the cold starts that are marked.
	maxKinds, maxColds = 100, 1000
)

// tally counts requests of the run, a load or a stage.
type tally struct {
	Summary
	turns           []turn // of a stage, as often as one of its name came; else one
	corrected, seen *hdrhistogram.Histogram
	refused, answer *hdrhistogram.Histogram // of refusals: all, and without connecting
	connect         *hdrhistogram.Histogram
}

// turn is one of the times that a stage ran.
type turn struct {
	first, last     time.Time
	ok              int
	firstOK, lastOK time.Time // ends of good answers
}

func newTally(name, kind string) *tally {
	return &tally{Summary: Summary{Name: name, Kind: kind}, corrected: newHistogram(), seen: newHistogram(),
		refused: newHistogram(), answer: newHistogram(), connect: newHistogram()}
}

func (t *tally) add(s *attack.Shot, usual time.Duration) {
	t.turn(s)
	t.Requests++
	if s.Opened {
		t.Opened++
	}
	_ = t.connect.RecordValue(micros(s.Connecting))
	if s.Cold {
		t.Cold++
	}
	switch {
	case s.OK():
		t.OK++
		_ = t.seen.RecordValue(micros(s.Latency)) // micros is within the histogram's bounds
		correct(t.corrected, s, usual)
	case s.Refused():
		t.Refused++
		if !s.RetryAfter {
			t.Hasty++
		}
		_ = t.refused.RecordValue(micros(s.Latency))
		_ = t.answer.RecordValue(micros(s.Latency - s.Connecting))
	default:
		t.Failed++
	}
}

// turn notes when a request came and ended, among those of its time.
func (t *tally) turn(s *attack.Shot) {
	n := 0
	if t.Kind == "stage" {
		n = s.Turn
	}
	for len(t.turns) <= n {
		t.turns = append(t.turns, turn{})
	}
	u, end := &t.turns[n], s.Sent.Add(s.Latency)
	if u.first.IsZero() || s.Due.Before(u.first) {
		u.first = s.Due
	}
	if end.After(u.last) {
		u.last = end
	}
	if !s.OK() {
		return
	}
	u.ok++
	if u.firstOK.IsZero() || end.Before(u.firstOK) {
		u.firstOK = end
	}
	if end.After(u.lastOK) {
		u.lastOK = end
	}
}

// correct records a latency without coordinated omission. An open loop's counts from when the request was due. A user
// who waits for a slow answer does not send what others would have sent meanwhile: the histogram fills in the requests
// that are missing, one for each usual interval.
func correct(h *hdrhistogram.Histogram, s *attack.Shot, usual time.Duration) {
	if !s.Closed {
		_ = h.RecordValue(micros(s.Sent.Sub(s.Due) + s.Latency))
		return
	}
	interval := micros(usual + s.Think)
	if usual == 0 {
		interval = 0 // there is no usual yet: nothing is filled in
	}
	_ = h.RecordCorrectedValue(micros(s.Latency), interval)
}

func (t *tally) summary() Summary {
	s := t.Summary
	s.Latencies, s.Seen = quantiles(t.corrected), quantiles(t.seen)
	s.RefusedP99, s.RefusedAnswerP99, s.ConnectP99 = quantiles(t.refused).P99, quantiles(t.answer).P99, quantiles(t.connect).P99
	gaps, between := 0, 0.0
	for _, u := range t.turns {
		s.Seconds += u.last.Sub(u.first).Seconds()
		// From answer to answer: what a queue delays at a stage's begin comes after its end.
		if d := u.lastOK.Sub(u.firstOK).Seconds(); d > 1 {
			gaps += u.ok - 1
			between += d
		}
	}
	if s.Seconds > 0 {
		s.Rate, s.Goodput = float64(s.Requests)/s.Seconds, float64(s.OK)/s.Seconds
	}
	if between > 0 {
		s.Goodput = float64(gaps) / between
	}
	return s
}

// second counts the requests that ended since the last row.
type second struct {
	ok, refused, failed, cold, opened int
	unanswered                        int // of failed
	corrected, refusedHist, connect   *hdrhistogram.Histogram
}

type failureKey struct {
	load, message string
	status        int
}

// Recorder collects a run. Its methods may be called from any goroutine.
type Recorder struct {
	mu       sync.Mutex
	run      Run
	whole    *tally
	scopes   []*tally // loads and stages, in the order of Expect or of their first request
	byName   map[[2]string]*tally
	failures map[failureKey]*Failure
	now      second
	usual    map[string]time.Duration // by load, the median of the last second
	byLoad   map[string]*hdrhistogram.Histogram
	lastRow  time.Time
	sent     uint64
	silent   int // rows with requests and no answer at all, in a row
	engine   engineState
}

// NewRecorder begins a run now.
func NewRecorder(run Run) *Recorder {
	r := &Recorder{
		run: run, whole: newTally("", "run"), byName: map[[2]string]*tally{}, failures: map[failureKey]*Failure{},
		now:   second{corrected: newHistogram(), refusedHist: newHistogram(), connect: newHistogram()},
		usual: map[string]time.Duration{}, byLoad: map[string]*hdrhistogram.Histogram{}, lastRow: run.Started,
		engine: engineState{cpu: map[string]float64{}, wanted: map[string]int{}},
	}
	r.run.Running = true
	r.run.Notes, r.run.Rows, r.run.Decisions, r.run.Cold = []string{}, []Row{}, []Mark{}, []Cold{}
	r.run.Failures, r.run.Thresholds, r.run.Revisions, r.run.Stages = []Failure{}, []Verdict{}, []Revision{}, []Span{}
	return r
}

func (r *Recorder) since(t time.Time) float64 {
	return float64(t.Sub(r.run.Started).Milliseconds()) / 1000
}

// Expect names a load and its stages: summaries are in the order of these calls.
func (r *Recorder) Expect(load string, stages ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scope("load", load)
	for _, s := range stages {
		r.scope("stage", s)
	}
}

// Add counts a request.
func (r *Recorder) Add(s attack.Shot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	usual := r.usual[s.Load]
	r.whole.add(&s, usual)
	r.scope("load", s.Load).add(&s, usual)
	r.scope("stage", s.Stage).add(&s, usual)
	end := s.Sent.Add(s.Latency)
	_ = r.now.connect.RecordValue(micros(s.Connecting))
	if s.Opened {
		r.now.opened++
	}
	if s.Cold {
		r.now.cold++
		if len(r.run.Cold) < maxColds {
			r.run.Cold = append(r.run.Cold, Cold{T: r.since(s.Sent), Revision: s.Revision, Latency: float64(s.Latency.Microseconds()) / 1000})
		}
	}
	switch {
	case s.OK():
		r.now.ok++
		correct(r.now.corrected, &s, usual)
		h := r.byLoad[s.Load]
		if h == nil {
			h = newHistogram()
			r.byLoad[s.Load] = h
		}
		_ = h.RecordValue(micros(s.Latency))
		return
	case s.Refused():
		r.now.refused++
		_ = r.now.refusedHist.RecordValue(micros(s.Latency))
	default:
		r.now.failed++
		if s.Status == 0 {
			r.now.unanswered++
		}
	}
	r.fail(&s, r.since(end))
}

func (r *Recorder) scope(kind, name string) *tally {
	key := [2]string{kind, name}
	t := r.byName[key]
	if t == nil {
		t = newTally(name, kind)
		r.byName[key] = t
		r.scopes = append(r.scopes, t)
	}
	return t
}

func (r *Recorder) fail(s *attack.Shot, at float64) {
	key := failureKey{load: s.Load, status: s.Status, message: s.Message}
	f := r.failures[key]
	if f == nil {
		if len(r.failures) >= maxKinds {
			key = failureKey{message: "other failures"}
		}
		if f = r.failures[key]; f == nil {
			f = &Failure{Load: key.load, Status: key.status, Message: key.message, First: at}
			r.failures[key] = f
		}
	}
	f.Count++
	f.Last = max(f.Last, at)
	f.First = min(f.First, at)
}

// Note adds a note.
func (r *Recorder) Note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run.Notes = append(r.run.Notes, text)
}

// Died notes that the target does not answer any more.
func (r *Recorder) Died(text string) {
	r.Note(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.run.Died = true
}

// Tick ends a second: states are what the generators do, seen is the last look at the engine, nil if there is none,
// processors what the sender used meanwhile.
func (r *Recorder) Tick(now time.Time, states []attack.State, seen *knative.Observation, processors float64) Row {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The last one is shorter than a second: what ended in it counts as of a whole one.
	elapsed := max(1, now.Sub(r.lastRow).Seconds())
	row := Row{T: r.since(now), Cold: r.now.cold, Generator: processors}
	var sent uint64
	for _, s := range states {
		row.Users += s.Users
		row.Rate += s.Rate
		sent += s.Sent
		r.span(s, row.T)
	}
	row.Sent = float64(sent-min(sent, r.sent)) / elapsed
	r.sent, r.lastRow = sent, now
	row.OK, row.Refused, row.Failed = float64(r.now.ok)/elapsed, float64(r.now.refused)/elapsed, float64(r.now.failed)/elapsed
	row.P50, row.P95, row.P99 = quantile(r.now.corrected, 50), quantile(r.now.corrected, 95), quantile(r.now.corrected, 99)
	row.RefusedP99 = quantile(r.now.refusedHist, 99)
	row.Opened, row.ConnectP99 = float64(r.now.opened)/elapsed, quantile(r.now.connect, 99)
	switch all := r.now.ok + r.now.refused + r.now.failed; {
	case all > r.now.unanswered:
		r.silent = 0
	case all > 0:
		r.silent++
	}
	for load, h := range r.byLoad {
		if h.TotalCount() > 0 {
			r.usual[load] = time.Duration(h.ValueAtQuantile(50)) * time.Microsecond
			h.Reset()
		}
	}
	r.now.corrected.Reset()
	r.now.refusedHist.Reset()
	r.now.connect.Reset()
	r.now.ok, r.now.refused, r.now.failed, r.now.unanswered, r.now.cold, r.now.opened = 0, 0, 0, 0, 0, 0
	if seen != nil {
		r.look(&row, seen)
	}
	r.run.Rows = append(r.run.Rows, row)
	r.run.Seconds = row.T
	return row
}

// Pending says whether what came since the last row is worth another one: half a second, or a request that ended.
func (r *Recorder) Pending(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Sub(r.lastRow) >= time.Second/2 || r.now.ok+r.now.refused+r.now.failed > 0
}

// Silent is for how many seconds no request has had any answer, be it a bad one.
func (r *Recorder) Silent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.silent
}

// span notes which stage runs.
func (r *Recorder) span(s attack.State, t float64) {
	if s.Stage == "" {
		return
	}
	begin := 0.0
	for i := range slices.Backward(r.run.Stages) {
		sp := &r.run.Stages[i]
		if sp.Load != s.Load {
			continue
		}
		if sp.Name == s.Stage {
			sp.End = t
			return
		}
		begin = sp.End
		break
	}
	r.run.Stages = append(r.run.Stages, Span{Load: s.Load, Name: s.Stage, Begin: begin, End: t})
}

// Snapshot returns the run so far, with the rows after index from.
func (r *Recorder) Snapshot(from int) Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := r.run
	run.Rows = slices.Clone(run.Rows[min(max(from, 0), len(run.Rows)):])
	run.Notes, run.Stages, run.Cold = slices.Clone(run.Notes), slices.Clone(run.Stages), slices.Clone(run.Cold)
	run.Decisions, run.Revisions = slices.Clone(run.Decisions), slices.Clone(run.Revisions)
	run.Summaries = []Summary{r.whole.summary()}
	for _, t := range r.scopes {
		if t.Requests > 0 {
			run.Summaries = append(run.Summaries, t.summary())
		}
	}
	order := map[string]int{"run": 0, "load": 1, "stage": 2}
	slices.SortStableFunc(run.Summaries, func(a, b Summary) int { return cmp.Compare(order[a.Kind], order[b.Kind]) })
	run.Failures = make([]Failure, 0, len(r.failures))
	for _, f := range r.failures {
		run.Failures = append(run.Failures, *f)
	}
	slices.SortFunc(run.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Load, b.Load))
	})
	return run
}

// Started is when the run began.
func (r *Recorder) Started() time.Time { return r.run.Started }
