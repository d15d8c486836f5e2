package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/report"
)

// answersByCode reads the router's own count of answers for a model.
func answersByCode(t *testing.T, w *weir, model string) map[int]int {
	t.Helper()
	resp, err := http.Get(w.URL("/metrics"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]int{}
	for _, m := range regexp.MustCompile(`(?m)^weir_router_requests_total\{code="(\d+)",model="`+model+`"[^}]*\} (\S+)$`).FindAllSubmatch(text, -1) {
		code, _ := strconv.Atoi(string(m[1]))
		n, _ := strconv.ParseFloat(string(m[2]), 64)
		got[code] += int(n)
	}
	return got
}

// since is how many answers were counted since before, and how many of them were no 200.
func since(t *testing.T, w *weir, model string, before map[int]int) (all, bad int) {
	t.Helper()
	for code, n := range answersByCode(t, w, model) {
		n -= before[code]
		all += n
		if code != http.StatusOK {
			bad += n
		}
	}
	return all, bad
}

// scenarioFile writes a scenario beside a file of digits.
func scenarioFile(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"scenario.yaml": text, "digits.jsonl": string(digitsBody) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "scenario.yaml")
}

const digitsTarget = "target: {model: digits, api: json}\ninputs: {bodies: digits.jsonl}\n"

// TestLoadGeneratorsAgreeWithWeir runs weir load, hey and Locust: what each has counted is what weir has counted.
func TestLoadGeneratorsAgreeWithWeir(t *testing.T) {
	w := ownWeir(t, "-f", harness.Path("knative"))
	for _, model := range []string{"digits", "imagenet", "embed"} {
		w.must(t, "status", model)
	}
	revisionOf(t, w, "/v1/models/digits:predict", nil)

	t.Run("weir load", func(t *testing.T) {
		before, dir := answersByCode(t, w, "digits"), t.TempDir()
		out := w.must(t, "load", scenarioFile(t, digitsTarget+`
stages:
  - {name: users, users: 4, duration: 2s, think: 20ms}
  - {name: arrivals, rate: 100, from: 20, duration: 3s}
thresholds: [errors == 0%, requests(arrivals) == 180, replicas(digits) >= 1, p99 < 5s]
`), "--out", dir)
		if !strings.Contains(out, filepath.Join(dir, report.FileHTML)) {
			t.Errorf("it printed %q, want where the report is", out)
		}
		run, err := report.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		all, bad := since(t, w, "digits", before)
		if sum := run.Summaries[0]; sum.Requests != all || sum.OK != all || bad != 0 {
			t.Errorf("weir load counted %d requests, %d ok; weir %d, %d of them bad", sum.Requests, sum.OK, all, bad)
		}
		last := run.Rows[len(run.Rows)-1]
		if x := last.Revisions["digits-00001"]; x.Memory < 10 || len(x.Replicas) == 0 || last.Engine == nil || last.Engine.Memory < 10 {
			t.Errorf("the last second is without what the replicas use: %+v", last)
		}
	})
	t.Run("weir load over gRPC", func(t *testing.T) {
		before, photos, dir := answersByCode(t, w, "digits"), answersByCode(t, w, "imagenet"), t.TempDir()
		out := w.must(t, "load", harness.Path("loadtest/scenarios/grpc.yaml"), "--for", "2s", "--out", dir, "-o", "json")
		var run struct {
			Report     string
			Summaries  []measure.Summary
			Thresholds []measure.Verdict
		}
		if err := json.Unmarshal([]byte(out), &run); err != nil || run.Report != filepath.Join(dir, report.FileHTML) || len(run.Thresholds) == 0 {
			t.Fatalf("%v: it printed %s", err, out)
		}
		got := map[string]int{}
		for _, sum := range run.Summaries {
			got[sum.Name] = sum.OK
		}
		digits, bad := since(t, w, "digits", before)
		images, badImages := since(t, w, "imagenet", photos)
		if got[""] != digits+images || got["photos by Predict"] != images || got["digits over gRPC"] < 60 || bad+badImages != 0 {
			t.Errorf("weir load counted %v good answers; weir %d and %d, %d and %d of them bad", got, digits, images, bad, badImages)
		}
	})
	t.Run("hey", func(t *testing.T) {
		before := answersByCode(t, w, "digits")
		cmd := exec.CommandContext(t.Context(), harness.Path("loadtest/hey.sh"), "small")
		cmd.Env = append(os.Environ(), "WEIR_ADDRESS="+w.URL(""))
		out, err := cmd.CombinedOutput()
		if all, bad := since(t, w, "digits", before); err != nil || all != 2000 || bad != 0 || !strings.Contains(string(out), "[200]	2000 responses") {
			t.Errorf("hey: %v; weir counted %d, %d of them bad\n%s", err, all, bad, out)
		}
	})
	t.Run("locust", func(t *testing.T) { testLocust(t, w) })
}

// testLocust runs the project's locustfile for some seconds, and once more against a model that is not there.
func testLocust(t *testing.T, w *weir) {
	before := map[string]map[int]int{}
	for _, model := range []string{"imagenet", "embed", "digits"} {
		before[model] = answersByCode(t, w, model)
	}
	stats := locust(t, harness.Path("loadtest/locustfile.py"), w.URL(""), 0)
	for model, b := range before {
		all, bad := since(t, w, model, b)
		if got := stats["/v1/models/"+model+":predict"]; got != [2]int{all, bad} || all == 0 {
			t.Errorf("%s: Locust counted %v requests and failures, weir %d and %d", model, got, all, bad)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing.py")
	if err := os.WriteFile(missing, []byte(`from locust import HttpUser, constant, task

class Lost(HttpUser):
    wait_time = constant(0.2)

    @task
    def predict(self):
        self.client.post("/v1/models/nobody:predict", data="{}")
`), 0o600); err != nil {
		t.Fatal(err)
	}
	b := answersByCode(t, w, "")
	stats = locust(t, missing, w.URL(""), 1)
	all := answersByCode(t, w, "")[http.StatusNotFound] - b[http.StatusNotFound]
	if got := stats["/v1/models/nobody:predict"]; got != [2]int{all, all} || all == 0 {
		t.Errorf("failures: Locust counted %v, weir %d", got, all)
	}
}

// locust runs Locust without its page and returns requests and failures by path.
func locust(t *testing.T, file, host string, exit int) map[string][2]int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Path("build/locust/bin/locust"), "--headless", "-f", file, "--host", host,
		"-u", "6", "-r", "6", "-t", "6s", "-s", "30", "--json")
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		t.Fatalf("locust: %v (make locust installs it)", err)
	}
	if code := cmd.ProcessState.ExitCode(); code != exit {
		t.Errorf("locust ended with %d, want %d\n%s", code, exit, log.String())
	}
	var all []struct {
		Name     string `json:"name"`
		Requests int    `json:"num_requests"`
		Failures int    `json:"num_failures"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("locust: %v\n%s\n%s", err, out, log.String())
	}
	stats := map[string][2]int{}
	for _, s := range all {
		stats[s.Name] = [2]int{s.Requests, s.Failures}
	}
	return stats
}

// startLoad runs weir load in the background. Its progress is read line by line.
func startLoad(t *testing.T, w *weir, args ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Path("bin/weir"), append([]string{"--state", w.State, "load"}, args...)...)
	cmd.Dir = t.TempDir()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &out
}

// TestLoadEndsEarly ends runs by Ctrl-C and by the death of what they ask: each says so and has its report.
func TestLoadEndsEarly(t *testing.T) {
	w := ownWeir(t, "-f", harness.Path("knative/20-digits.yaml"))
	revisionOf(t, w, "/v1/models/digits:predict", nil)
	endless := digitsTarget + "stages:\n  - {users: 2, duration: 1h, think: 20ms}\n"
	asked := func(before map[int]int) func() bool {
		return func() bool { all, _ := since(t, w, "digits", before); return all > 20 }
	}
	t.Run("by Ctrl-C", func(t *testing.T) {
		dir := t.TempDir()
		before := answersByCode(t, w, "digits")
		cmd, out := startLoad(t, w, scenarioFile(t, endless+"thresholds: [errors == 0%]\n"), "--out", dir)
		await(t, 30*time.Second, "requests arrive", asked(before))
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		run, err := report.Read(dir)
		all, _ := since(t, w, "digits", before)
		if err != nil || run.Summaries[0].Requests != all || !hasNote(run, "ended before its time") || len(run.Thresholds) != 1 {
			t.Errorf("report: %v, notes %q, %d requests of %d", err, run.Notes, run.Summaries[0].Requests, all)
		}
	})
	t.Run("by the target's death", func(t *testing.T) {
		dir := t.TempDir()
		before := answersByCode(t, w, "digits")
		cmd, out := startLoad(t, w, scenarioFile(t, endless), "--out", dir)
		await(t, 30*time.Second, "requests arrive", asked(before))
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
		err := cmd.Wait()
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), "the target died") {
			t.Errorf("%v, want the exit code 1 and why\n%s", err, out)
		}
		run, err := report.Read(dir)
		if err != nil || !run.Died || !hasNote(run, "The target died") || !hasNote(run, "The engine did not answer") || len(run.Failures) == 0 {
			t.Errorf("report: %v, notes %q, failures %+v", err, run.Notes, run.Failures)
		}
	})
}

func hasNote(run measure.Run, text string) bool {
	return strings.Contains(strings.Join(run.Notes, "\n"), text)
}

// TestLoadIsRefused runs what weir load does not do; nothing is sent.
func TestLoadIsRefused(t *testing.T) {
	state := shortDir(t)
	load := func(args ...string) (int, string) {
		cmd := exec.CommandContext(t.Context(), harness.Path("bin/weir"), append([]string{"--state", state, "load"}, args...)...)
		cmd.Dir = t.TempDir()
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	stage := "stages:\n  - {users: 1, duration: 1s}\n"
	bad := scenarioFile(t, digitsTarget+"stages:\n  - users: -1\n    duration: 1s\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no scenario", nil, 2, "SCENARIO.yaml is missing"},
		{"another engine", []string{bad, "--on", "moon"}, 2, `"moon" is unknown`},
		{"another output", []string{bad, "-o", "moon"}, 2, `output "moon" is unknown`},
		{"a bad scenario", []string{bad}, 1, bad + ":4: stages[0].users: expected 0 to 20000 users, not -1"},
		{"weir is not up", []string{scenarioFile(t, digitsTarget+stage)}, 1, "weir up -f knative/"},
		{"another host", []string{scenarioFile(t, "target: {url: \"http://192.0.2.1/\"}\n"+stage)}, 1, "--allow-host 192.0.2.1"},
		{"another host's router", []string{scenarioFile(t, digitsTarget+stage), "--address", "192.0.2.1:80"}, 1, "--allow-host 192.0.2.1"},
		{"no folder for the report", []string{scenarioFile(t, "target: {url: \"http://127.0.0.1:1/\"}\nstages:\n  - {users: 1, duration: 1h}\n"), "--out", bad}, 1, "report: "},
		{"no report", []string{"compare", t.TempDir(), t.TempDir()}, 1, "expected the folder of a report"},
	} {
		if code, out := load(tt.args...); code != tt.code || !strings.Contains(out, tt.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s", tt.name, code, tt.code, tt.says, out)
		}
	}
}

// TestLoadOfBadAnswers: a target that refuses every request has not died; who wants to know has a threshold.
func TestLoadOfBadAnswers(t *testing.T) {
	w := ownWeir(t, "-f", harness.Path("knative/20-digits.yaml"))
	revisionOf(t, w, "/v1/models/digits:predict", nil)
	dir := t.TempDir()
	file := scenarioFile(t, "target: {model: digits, api: json}\ninputs: {bodies: bad.jsonl}\nstages:\n  - {rate: 10, duration: 7s}\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "bad.jsonl"), []byte(`{"instances": [1]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.must(t, "load", file, "--out", dir)
	run, err := report.Read(filepath.Join(dir, report.FileHTML))
	if err != nil || run.Died || run.Summaries[0].Failed != 70 || len(run.Failures) != 1 || !strings.HasPrefix(run.Failures[0].Message, `input "images" has shape`) {
		t.Errorf("report: %v, died %v, %+v, %+v; want 70 failures of one kind", err, run.Died, run.Summaries[0], run.Failures)
	}
	_, said, err := w.Run(t.Context(), "load", scenarioFile(t, "target: {model: nobody, api: json}\ninputs: {bodies: digits.jsonl}\nstages:\n  - {users: 1, duration: 1h}\n"))
	if err == nil || !strings.Contains(said, `load nobody: there is no model "nobody": there are digits`) {
		t.Errorf("a model that is not there: %v\n%s", err, said)
	}
}

// TestLoadScalesAWaitingModel runs a short form of the experiment: a model with a declared delay, replicas that follow the
// users, decisions with their numbers in the report, two runs compared, and the scenario's service gone afterwards.
func TestLoadScalesAWaitingModel(t *testing.T) {
	w := ownWeir(t)
	text := func(services string, model string, thresholds string) string {
		return fmt.Sprintf("services: [%s]\ntarget: {model: %s, api: json}\ninputs: {bodies: digits.jsonl}\n", harness.Path("loadtest/scenarios/services", services), model) +
			"stages:\n  - {name: full, users: 16, duration: 12s, think: 20ms}\nthresholds:\n" + thresholds
	}
	dir := t.TempDir()
	fixed, scaled := filepath.Join(dir, "fixed"), filepath.Join(dir, "scaled")
	w.must(t, "load", "--out", fixed, scenarioFile(t, text("waiting-fixed.yaml", "waiting-fixed",
		"  - errors == 0%\n  - replicas(waiting-fixed) == 1\n  - goodput < 21\n  - p50 > 400ms\n")))
	w.must(t, "load", "--out", scaled, scenarioFile(t, text("waiting-scaled.yaml", "waiting-busy",
		"  - errors == 0%\n  - max_replicas(waiting-busy) >= 3\n  - replicas(waiting-idle) == 1\n")))
	run, err := report.Read(scaled)
	if err != nil {
		t.Fatal(err)
	}
	up := 0
	for _, d := range run.Decisions {
		if d.Revision == "waiting-busy-00001" && d.Wanted > d.From && d.Stable > 0 && d.PanicConcurrency > 0 && d.Target > 0 && d.Reason != "" {
			up++
		}
	}
	if up == 0 {
		t.Errorf("no decision to scale up, with its numbers: %+v", run.Decisions)
	}
	page := filepath.Join(dir, "compare.html")
	w.must(t, "load", "compare", fixed, scaled, "--out", page)
	if info, err := os.Stat(page); err != nil || info.Size() < 50_000 {
		t.Errorf("the page of both runs: %v, %v", info, err)
	}
	var services []struct{ Name string }
	if err := json.Unmarshal([]byte(w.must(t, "status", "-o", "json")), &services); err != nil || len(services) != 0 {
		t.Errorf("after the runs there are %v (%v), want no service", services, err)
	}
	// A threshold that does not hold is the exit code.
	_, errs, err := w.Run(t.Context(), "load", "--out", filepath.Join(dir, "broken"), scenarioFile(t, strings.Replace(
		text("waiting-fixed.yaml", "waiting-fixed", "  - p50 < 100ms\n"), "12s", "1s", 1)))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(errs, "BROKEN p50 < 100ms") {
		t.Errorf("a broken threshold: %v\n%s", err, errs)
	}
}

// TestTheProjectsScenarios runs in seconds what takes minutes: whatever the thresholds say of so short a run, each scenario
// starts its services, is answered without a failure, makes its changes, and has its report.
func TestTheProjectsScenarios(t *testing.T) {
	w := ownWeir(t, "-f", harness.Path("knative/20-digits.yaml"))
	revisionOf(t, w, "/v1/models/digits:predict", nil) // first is not about a cold start, which takes long beside all others
	// Those in one group have the same services.
	for _, group := range [][]string{
		{"first"}, {"burst-from-zero", "scale-to-zero"}, {"rollout-under-load"}, {"two-models-one-busy"}, {"overload-busy"}, {"soak"},
	} {
		t.Run(group[0], func(t *testing.T) {
			t.Parallel()
			for _, name := range group {
				dir := filepath.Join(t.TempDir(), name)
				_, said, err := w.Run(t.Context(), "load", harness.Path("loadtest/scenarios", name+".yaml"), "--for", "2s", "--out", dir)
				if err != nil && !strings.Contains(said, "weir: a threshold does not hold\n") {
					t.Fatalf("%s: %v\n%s", name, err, said)
				}
				run, err := report.Read(dir)
				if err != nil {
					t.Fatal(err)
				}
				if sum := run.Summaries[0]; sum.OK == 0 || sum.Failed > 0 || len(run.Thresholds) == 0 {
					t.Errorf("%s: %+v, thresholds %v", name, sum, run.Thresholds)
				}
				if name == "rollout-under-load" && !hasNote(run, "rollout-2.yaml was applied") {
					t.Errorf("%s: notes %q, want the change", name, run.Notes)
				}
			}
		})
	}
}

// TestLoadOverload sends ten times what a replica can answer: it goes on answering at its pace, the rest is refused at
// once with Retry-After, and the next request after the load is answered.
func TestLoadOverload(t *testing.T) {
	w := ownWeir(t)
	dir := t.TempDir()
	w.must(t, "load", "--out", dir, scenarioFile(t, fmt.Sprintf("services: [%s]\n", harness.Path("loadtest/scenarios/services/waiting-fixed.yaml"))+`
target: {model: waiting-fixed, api: json}
inputs: {bodies: digits.jsonl}
stages:
  - {name: capacity, rate: 20, duration: 5s}
  - {name: overload, rate: 200, duration: 8s}
  - {name: falling, rate: 2, duration: 3s}
  - {name: recovered, rate: 5, duration: 3s}
thresholds:
  - goodput(overload) > 17
  - errors(capacity) == 0%
  - errors(recovered) == 0%
  - p95(recovered) < 1s
`))
	run, err := report.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if sum := run.Summaries[0]; sum.Refused < 1000 || sum.Failed != 0 || sum.Hasty != 0 {
		t.Errorf("%+v; want refusals, each with Retry-After, and no failure", sum)
	}
}
