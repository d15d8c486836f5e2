package measure

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/scenario"
)

var began = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

func ok(at, latency time.Duration) attack.Shot {
	return attack.Shot{Load: "m", Stage: "s", Due: began.Add(at), Sent: began.Add(at), Latency: latency, Status: 200, Revision: "m-1"}
}

func near(got, want, share float64) bool { return math.Abs(got-want) <= share*want }

// TestOpenLoopIsCorrected: a target that stands still for a second delays what was due meanwhile.
func TestOpenLoopIsCorrected(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	for i := range 100 {
		s := ok(time.Duration(i)*10*time.Millisecond, 10*time.Millisecond)
		s.Sent = began.Add(time.Second) // all were sent late
		r.Add(s)
	}
	run := r.Finish(nil)
	all := run.Summaries[0]
	if !near(all.Seen.P99, 10, 0.01) || !near(all.Latencies.P50, 510, 0.02) || !near(all.Latencies.Max, 1010, 0.01) {
		t.Errorf("seen p99 %v, corrected p50 %v, at most %v; want 10, about 510, 1010", all.Seen.P99, all.Latencies.P50, all.Latencies.Max)
	}
}

// TestClosedLoopIsCorrected: one stall of a second among answers of 10 ms stands for the requests that were not made.
func TestClosedLoopIsCorrected(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	add := func(latency time.Duration) {
		s := ok(0, latency)
		s.Closed = true
		r.Add(s)
	}
	for range 100 {
		add(10 * time.Millisecond)
	}
	r.Tick(began.Add(time.Second), nil, nil, 0) // now 10 ms is usual
	for range 99 {
		add(10 * time.Millisecond)
	}
	add(time.Second)
	all := r.Finish(nil).Summaries[0]
	if all.Requests != 200 || all.OK != 200 {
		t.Errorf("%d requests, %d ok; what is filled in must not count", all.Requests, all.OK)
	}
	if !near(all.Seen.P99, 10, 0.01) || all.Latencies.P90 < 600 {
		t.Errorf("seen p99 %v, corrected p90 %v; want 10 and more than 600", all.Seen.P99, all.Latencies.P90)
	}
}

func TestRowsAndFailures(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	r.Add(ok(0, 20*time.Millisecond))
	cold := ok(0, time.Second)
	cold.Cold = true
	r.Add(cold)
	for i, s := range []attack.Shot{{Status: 503, Message: "full", RetryAfter: true}, {Status: 503, Message: "full"}, {Status: 500, Message: "bad"}, {Message: "refused"}} {
		s.Load, s.Stage, s.Sent, s.Due, s.Latency = "m", "s", began.Add(time.Duration(i)*time.Second), began.Add(time.Duration(i)*time.Second), time.Millisecond
		r.Add(s)
	}
	row := r.Tick(began.Add(2*time.Second), []attack.State{{Load: "m", Stage: "s", Users: 3, Closed: true, Sent: 6}}, nil, 0.25)
	if row.OK != 1 || row.Refused != 1 || row.Failed != 1 || row.Sent != 3 || row.Users != 3 || row.Cold != 1 || row.P50 == nil || row.Generator != 0.25 {
		t.Errorf("row %+v; want 1 ok, refused and failed a second, 3 sent, 3 users", row)
	}
	if next := r.Tick(began.Add(3*time.Second), nil, nil, 0); next.OK != 0 || next.P50 != nil {
		t.Errorf("an empty second: %+v", next)
	}
	run := r.Finish(nil)
	all := run.Summaries[0]
	if all.Requests != 6 || all.OK != 2 || all.Refused != 2 || all.Failed != 2 || all.Hasty != 1 || all.Cold != 1 {
		t.Errorf("summary %+v", all)
	}
	if len(run.Failures) != 3 || run.Failures[0].Count != 2 || run.Failures[0].Message != "full" || run.Failures[0].Last < 1 {
		t.Errorf("failures %+v", run.Failures)
	}
	if len(run.Cold) != 1 || run.Cold[0].Latency != 1000 || len(run.Summaries) != 3 || len(run.Stages) != 1 {
		t.Errorf("cold starts %+v, summaries of %d, stages %+v", run.Cold, len(run.Summaries), run.Stages)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	second := 0
	tick := func() int {
		second++
		r.Tick(began.Add(time.Duration(second)*time.Second), nil, nil, 0)
		return r.Silent()
	}
	dead := attack.Shot{Load: "m", Sent: began, Due: began, Message: "connection refused"}
	r.Add(dead)
	if tick() != 1 {
		t.Error("a second of failures only is silent")
	}
	if tick() != 1 {
		t.Error("a second without any request says nothing")
	}
	r.Add(dead)
	if tick() != 2 {
		t.Error("the next one is the second")
	}
	for _, status := range []int{503, 404, 500} {
		r.Add(dead)
		tick()
		r.Add(attack.Shot{Load: "m", Sent: began, Due: began, Status: status})
		if tick() != 0 {
			t.Errorf("%d is an answer", status)
		}
	}
}

func look(at time.Duration, cpu float64, ready int, decisions ...knative.Decision) *knative.Observation {
	return &knative.Observation{
		Time: began.Add(at),
		Services: []knative.ServiceStatus{
			{Name: "m", Model: true, Revisions: []knative.RevisionStatus{{Name: "m-1", Ready: ready, Wanted: ready, Queue: 2, Concurrency: 1.5}}},
			{Name: "router", Revisions: []knative.RevisionStatus{{Name: "router-1", Ready: 1}}},
		},
		Replicas: []knative.ReplicaUsage{
			{Name: "m-1-a", Service: "m", Revision: "m-1", CPU: cpu, Memory: 100 << 20}, {Name: knative.EngineReplica, CPU: cpu / 2, Memory: 50 << 20},
		},
		Decisions: map[string][]knative.Decision{"m-1": decisions},
	}
}

func TestWhatTheEngineSays(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	r.Tick(at(1), nil, look(900*time.Millisecond, 50, 1, knative.Decision{Time: at(0.5), Wanted: 1}), 0)
	row := r.Tick(at(2), nil, look(1900*time.Millisecond, 50.5, 1, knative.Decision{Time: at(1.5), Wanted: 3, Stable: 6, Panic: true}), 0)
	if x := row.Revisions["m-1"]; len(row.Revisions) != 1 || !near(x.CPU, 0.5, 0.01) || x.Memory != 100 || x.Queue != 2 || !near(row.Engine.CPU, 0.25, 0.01) {
		t.Errorf("revision %+v, engine %+v; want half a processor, 100 MB, a quarter", x, row.Engine)
	}
	if again := r.Tick(at(3), nil, look(1900*time.Millisecond, 50.5, 1), 0); !near(again.Revisions["m-1"].CPU, 0.5, 0.01) {
		t.Errorf("the same look twice: %+v; want what it said", again.Revisions["m-1"])
	}
	r.Tick(at(4), nil, look(3900*time.Millisecond, 51, 3, knative.Decision{Time: at(3.5), Wanted: 3}), 0)
	run := r.Finish([]scenario.Threshold{
		threshold(t, "replicas(m) == 1"), threshold(t, "max_replicas(m-1) == 3"), threshold(t, "last_replicas(m) == 3"), threshold(t, "memory(m) < 200"),
		threshold(t, "replicas(other) == 0"), threshold(t, "p95 < 1s"),
	})
	if len(run.Decisions) != 1 || run.Decisions[0].From != 1 || run.Decisions[0].Wanted != 3 || run.Decisions[0].T != 1.5 || !run.Decisions[0].Panic {
		t.Errorf("decisions %+v; want the one that changed the number", run.Decisions)
	}
	want := []bool{false, true, true, true, false, false}
	for i, v := range run.Thresholds {
		if v.Holds != want[i] {
			t.Errorf("%+v, want %v", v, want[i])
		}
	}
	if !run.Failed() || run.Thresholds[4].Missing == "" || run.Thresholds[5].Missing == "" {
		t.Errorf("what there is no value of does not hold, and says so: %+v", run.Thresholds)
	}
}

// TestMemory: a replica that grows is told from replicas that become more, and what a start takes from a growth.
func TestMemory(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	for i := range 100 {
		seen := look(time.Duration(i+1)*time.Second, 0, 1)
		replica, self := &seen.Replicas[0], &seen.Replicas[1]
		replica.Memory, self.Memory = 100<<20, uint64(50+i/10)<<20
		if i < 10 { // it still starts
			replica.Memory = 20 << 20
		}
		if i >= 80 { // a second one, as large as the first
			seen.Replicas = append(seen.Replicas, knative.ReplicaUsage{Name: "m-1-b", Service: "m", Revision: "m-1", Memory: 100 << 20})
		}
		r.Tick(began.Add(time.Duration(i+1)*time.Second), nil, seen, 0)
	}
	for text, want := range map[string]float64{"memory(m) > 0": 200, "memory_growth(m-1) < 1MB": 0, "memory(weir) < 60MB": 59, "memory_growth(weir) < 9MB": 8} {
		if v := r.Finish([]scenario.Threshold{threshold(t, text)}).Thresholds[0]; !v.Holds || !near(v.Value, want, 0.01) {
			t.Errorf("%s: %+v, want it to hold at %v", text, v, want)
		}
	}
	short := NewRecorder(Run{Started: began})
	short.Tick(began.Add(time.Second), nil, look(time.Second, 0, 1), 0)
	for _, text := range []string{"memory_growth(m) < 1MB", "memory(other) < 1MB"} {
		if v := short.Finish([]scenario.Threshold{threshold(t, text)}).Thresholds[0]; v.Holds || v.Missing == "" {
			t.Errorf("%s: %+v, want it to say why there is no value", text, v)
		}
	}
}

func threshold(t *testing.T, text string) scenario.Threshold {
	t.Helper()
	th, err := scenario.ParseThreshold(text)
	if err != nil {
		t.Fatal(err)
	}
	return th
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	for i := range 99 {
		r.Add(ok(time.Duration(i)*10*time.Millisecond, 100*time.Millisecond))
	}
	r.Add(attack.Shot{Load: "m", Stage: "t", Due: began, Sent: began, Latency: 10 * time.Millisecond, Status: 503, Message: "full", RetryAfter: true})
	hasty := attack.Shot{Load: "m", Stage: "hasty", Due: began, Sent: began, Status: 503, Message: "full"}
	broken := attack.Shot{Load: "m", Stage: "broken", Due: began, Sent: began, Status: 500, Message: "bad"}
	other := NewRecorder(Run{Started: began})
	other.Add(hasty)
	other.Add(broken)
	for _, text := range []string{"failed(hasty) == 100%", "failed(broken) == 100%"} {
		if v := other.Finish([]scenario.Threshold{threshold(t, text)}).Thresholds[0]; !v.Holds {
			t.Errorf("%+v, want it to hold", v)
		}
	}
	for text, want := range map[string]bool{
		"p50 < 101ms": true, "p95 <= 99ms": false, "p99.9 >= 0.1s": true, "max < 0.2s": true, "mean > 99ms": true, "refused_p99 < 11ms": true,
		"errors == 1%": true, "errors < 1%": false, "refused != 0%": true, "failed == 0%": true, "requests == 100": true, "cold_starts == 0": true,
		"rate > 90": true, "goodput < 95/s": true, "p95(s) < 101ms": true, "errors(t) == 100%": true, "p95(t) < 1h": false, "requests(m) == 100": true,
		"requests(t) <= 2% of requests(s)": true, "requests(t) <= 1% of requests(s)": false, "p50(s) >= 99% of p50(m)": true,
	} {
		if v := r.Finish([]scenario.Threshold{threshold(t, text)}).Thresholds[0]; v.Holds != want {
			t.Errorf("%s: %+v, want %v", text, v, want)
		}
	}
}

// TestWhatTheSenderLeaves: as many answers as before are more for each processor, if the sender uses more of them.
func TestWhatTheSenderLeaves(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began, CPUs: 2})
	for i := range 20 {
		stage, sender := "light", 0.0
		if i >= 10 {
			stage, sender = "heavy", 1
		}
		shot := ok(time.Duration(i)*time.Second, 10*time.Millisecond)
		shot.Stage = stage
		r.Add(shot)
		r.Tick(began.Add(time.Duration(i+1)*time.Second), []attack.State{{Load: "m", Stage: stage}}, nil, sender)
	}
	for text, want := range map[string]float64{"goodput_left(light) > 0": 0.5, "goodput_left(heavy) > 190% of goodput_left(light)": 1, "goodput_left > 0": 0.75} {
		if v := r.Finish([]scenario.Threshold{threshold(t, text)}).Thresholds[0]; !v.Holds || !near(v.Value, want, 0.12) {
			t.Errorf("%s: %+v, want it to hold at about %v", text, v, want)
		}
	}
	if v := r.Finish([]scenario.Threshold{threshold(t, "goodput_left(m) > 0")}).Thresholds[0]; v.Holds || v.Missing == "" {
		t.Errorf("of a load: %+v, want it to say why there is no value", v)
	}
}

// TestMedian: a second in which nothing is answered lowers the mean, not the median.
func TestMedian(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began, CPUs: 2})
	for i := range 9 {
		for n := range 10 {
			if i != 4 {
				r.Add(ok(time.Duration(i)*time.Second+time.Duration(n)*time.Second/10, 10*time.Millisecond))
			}
		}
		r.Tick(began.Add(time.Duration(i+1)*time.Second), []attack.State{{Load: "m", Stage: "s"}}, nil, 1)
	}
	for _, text := range []string{"goodput_median(s) == 10", "goodput_left(s) == 10", "goodput_median == 10", "goodput(s) < 9"} {
		if v := r.Finish([]scenario.Threshold{threshold(t, text)}).Thresholds[0]; !v.Holds {
			t.Errorf("%+v, want it to hold", v)
		}
	}
}

// TestTurns: the times of one stage count together, and what lies between them does not.
func TestTurns(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began, CPUs: 2})
	for i := range 40 {
		// By turns of ten seconds: one answer a second beside a sender that takes nothing, and two beside one that takes a processor.
		stage, rate, sender := "light", 1, 0.0
		if i/10%2 == 1 {
			stage, rate, sender = "heavy", 2, 1
		}
		for n := range rate {
			shot := ok(time.Duration(i)*time.Second+time.Duration(n)*time.Second/2, 10*time.Millisecond)
			shot.Stage, shot.Turn = stage, i/20
			r.Add(shot)
		}
		r.Tick(began.Add(time.Duration(i+1)*time.Second), []attack.State{{Load: "m", Stage: stage}}, nil, sender)
	}
	run := r.Finish([]scenario.Threshold{
		threshold(t, "goodput(heavy) > 195% of goodput(light)"), threshold(t, "goodput(heavy) > 205% of goodput(light)"),
		threshold(t, "goodput_left(heavy) > 390% of goodput_left(light)"), threshold(t, "goodput_left(heavy) > 410% of goodput_left(light)"),
	})
	for i, want := range []bool{true, false, true, false} {
		if v := run.Thresholds[i]; v.Holds != want || v.Missing != "" {
			t.Errorf("%+v, want %v", v, want)
		}
	}
	spans := []Span{{"m", "light", 0, 10}, {"m", "heavy", 10, 20}, {"m", "light", 20, 30}, {"m", "heavy", 30, 40}}
	if d := cmp.Diff(spans, run.Stages); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, s := range run.Summaries[2:] {
		if n := map[string]int{"light": 20, "heavy": 40}[s.Name]; s.Requests != n || !near(s.Seconds, 19, 0.06) || !near(s.Rate, float64(n)/s.Seconds, 0.01) {
			t.Errorf("%+v, want %d requests in the stage's own time", s, n)
		}
	}
}

// TestWhatAClusterTells: means in place of processor time, what is unknown, and each note once.
func TestWhatAClusterTells(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	half := 0.5
	for i := range 3 {
		seen := look(time.Duration(i)*time.Second, 0, 1)
		seen.Replicas[0].Processors = &half
		seen.Unknown, seen.Notes = []knative.Figure{knative.FigureQueue}, []string{"late by 10 s"}
		row := r.Tick(began.Add(time.Duration(i+1)*time.Second), nil, seen, 0)
		for name, x := range row.Revisions {
			if x.CPU != half {
				t.Errorf("%s uses %v processors, want %v", name, x.CPU, half)
			}
		}
	}
	run := r.Finish(nil)
	if len(run.Notes) != 1 || len(run.Unknown) != 1 {
		t.Errorf("notes %q, unknown %q; want one each", run.Notes, run.Unknown)
	}
}

// TestSummariesAreInTheScenariosOrder, whoever is answered first; what has sent nothing yet is left out.
func TestSummariesAreInTheScenariosOrder(t *testing.T) {
	t.Parallel()
	r := NewRecorder(Run{Started: began})
	r.Expect("b", "up", "down", "never")
	r.Expect("a", "other")
	for _, s := range []attack.Shot{{Load: "a", Stage: "other"}, {Load: "b", Stage: "down"}, {Load: "b", Stage: "up"}} {
		s.Sent, s.Due, s.Status = began, began, 200
		r.Add(s)
	}
	var names []string
	for _, s := range r.Snapshot(0).Summaries {
		names = append(names, s.Name)
	}
	if d := cmp.Diff([]string{"", "b", "a", "up", "down", "other"}, names); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
