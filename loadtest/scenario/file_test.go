package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/harness"
)

// write makes a scenario with a folder of images and a file of bodies beside it.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{
		"s.yaml": text, "images/a.png": "\x89PNG\r\n\x1a\nrest", "images/notes.txt": "no image", "fake/a.png": "no image",
		"bodies.jsonl": "{\"instances\": [1]}\n\n{\"instances\": [2]}\n", "broken.jsonl": "{\"instances\": [1]}\n{oops\n",
		"trace.csv": "seconds,code\n10.0,200\n10.5,200\n12.0,503\n", "backwards.csv": "2\n1\n", "words.csv": "1\nsoon\n", "svc.yaml": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "s.yaml")
}

func TestRead(t *testing.T) {
	t.Parallel()
	path := write(t, `
name: all
look: |
  At
  everything.

  And more.
services: [svc.yaml]
loads:
  - name: users
    target: {model: digits, api: json, tag: next, timeout: 5s}
    inputs: {bodies: bodies.jsonl}
    stages:
      - {name: up, users: 20, from: 1, duration: 30s, think: 1s..3s}
      - {users: 20, duration: 10s}
  - target: {model: imagenet}
    inputs: {images: images}
    stages:
      - {name: wave, rate: 10, from: 5, sine: {amplitude: 5, period: 10s}, spike: {to: 50, at: 5s, for: 2s}, duration: 20s}
      - {name: again, replay: trace.csv, speed: 2}
changes:
  - {at: 10s, apply: svc.yaml}
tail: 5s
thresholds:
  - p95 < 1.5s
  - errors(up) <= 0.1%
  - replicas(imagenet) == 1
  - goodput(wave) > 90% of goodput(up)
`)
	s, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := &Scenario{
		Name: "all", Look: "At everything.\n\nAnd more.", File: path, Services: []string{filepath.Join(dir, "svc.yaml")}, Tail: 5 * time.Second,
		Loads: []Load{
			{
				Name: "users", Target: Target{Model: "digits", API: JSON, Tag: "next", Timeout: 5 * time.Second},
				Inputs: []Input{{ContentType: "application/json", Body: []byte(`{"instances": [1]}`)}, {ContentType: "application/json", Body: []byte(`{"instances": [2]}`)}},
				Stages: []Stage{
					{Name: "up", Duration: 30 * time.Second, Users: &Users{From: 1, To: 20, Think: time.Second, ThinkMost: 3 * time.Second}},
					{Name: "stage 2", Duration: 10 * time.Second, Users: &Users{From: 20, To: 20}},
				},
			},
			{
				Name: "imagenet", Target: Target{Model: "imagenet", API: Bytes, Timeout: time.Minute},
				Inputs: []Input{{ContentType: "image/png", Body: []byte("\x89PNG\r\n\x1a\nrest")}},
				Stages: []Stage{
					{Name: "wave", Duration: 20 * time.Second, Arrivals: &Arrivals{
						From: 5, To: 10, Sine: &Sine{Amplitude: 5, Period: 10 * time.Second}, Spike: &Spike{To: 50, At: 5 * time.Second, For: 2 * time.Second},
					}},
					{Name: "again", Duration: 2 * time.Second, Arrivals: &Arrivals{Trace: []time.Duration{0, 250 * time.Millisecond, time.Second}}},
				},
			},
		},
		Changes: []Change{{At: 10 * time.Second, Manifest: filepath.Join(dir, "svc.yaml")}},
		Thresholds: []Threshold{
			{Text: "p95 < 1.5s", Metric: "p95", Op: "<", Value: 1500, Unit: "ms"},
			{Text: "errors(up) <= 0.1%", Metric: "errors", Of: "up", Op: "<=", Value: 0.1, Unit: "%"},
			{Text: "replicas(imagenet) == 1", Metric: "replicas", Of: "imagenet", Op: "==", Value: 1},
			{Text: "goodput(wave) > 90% of goodput(up)", Metric: "goodput", Of: "wave", Op: ">", Value: 90, Unit: "/s", Base: "up"},
		},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := s.Duration(); got != 40*time.Second {
		t.Errorf("it lasts %v, want 40s", got)
	}
	if got := s.Loads[0].Stages[0].Users.At(15*time.Second, 30*time.Second); got != 11 {
		t.Errorf("half-way from 1 to 20 there are %d users, want 11", got)
	}
	s.Stretch(4 * time.Second)
	wave := s.Loads[1].Stages[0].Arrivals
	if s.Duration() != 4*time.Second || s.Changes[0].At != time.Second || s.Tail != 500*time.Millisecond ||
		wave.Sine.Period != time.Second || *wave.Spike != (Spike{To: 50, At: 500 * time.Millisecond, For: 200 * time.Millisecond}) {
		t.Errorf("in a tenth of the time: %+v, wave %+v", s, wave)
	}
}

// TestTheProjectsScenarios reads what is shipped.
func TestTheProjectsScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(harness.Path("loadtest/scenarios/*.yaml"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d scenarios, %v", len(files), err)
	}
	for _, f := range files {
		s, err := Read(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Look == "" || len(s.Thresholds) == 0 || s.Name+".yaml" != filepath.Base(f) {
			t.Errorf("%s: name %q; expected the file's name, what to look for, and thresholds", f, s.Name)
		}
	}
}

// TestRepeat: stages come by turns, and count as the turns of one stage each, as stages of one name do that are written out.
func TestRepeat(t *testing.T) {
	t.Parallel()
	s, err := Read(write(t, `
target: {model: digits, api: json}
inputs: {bodies: bodies.jsonl}
stages:
  - {name: warm, users: 1, duration: 1s}
  - repeat: 2
    stages:
      - {name: half, rate: 5, duration: 2s}
      - {users: 2, duration: 3s}
  - {name: half, rate: 6, duration: 4s}
`))
	if err != nil {
		t.Fatal(err)
	}
	five, six := &Arrivals{From: 5, To: 5}, &Arrivals{From: 6, To: 6}
	two := &Users{From: 2, To: 2}
	want := []Stage{
		{Name: "warm", Duration: time.Second, Users: &Users{From: 1, To: 1}},
		{Name: "half", Duration: 2 * time.Second, Arrivals: five},
		{Name: "stage 3", Duration: 3 * time.Second, Users: two},
		{Name: "half", Turn: 1, Duration: 2 * time.Second, Arrivals: five},
		{Name: "stage 3", Turn: 1, Duration: 3 * time.Second, Users: two},
		{Name: "half", Turn: 2, Duration: 4 * time.Second, Arrivals: six},
	}
	if d := cmp.Diff(want, s.Loads[0].Stages); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if s.Stretch(30 * time.Second); s.Duration() != 30*time.Second || s.Loads[0].Stages[3].Duration != 4*time.Second {
		t.Errorf("in twice the time: %v, the third stage again %v", s.Duration(), s.Loads[0].Stages[3].Duration)
	}
}

func TestBadScenarios(t *testing.T) {
	t.Parallel()
	const target = "target: {model: digits, api: json}\ninputs: {bodies: bodies.jsonl}\n" // two lines
	for _, tt := range []struct {
		name, text string
		line       int
		says       string
	}{
		{"empty", "", 1, "expected target, inputs and stages"},
		{"not YAML", "target: {", 1, ""},
		{"unknown field", target + "stages:\n  - {users: 1, duration: 1s, usres: 2}\n", 4, `unknown field "stages[0].usres": expected one of name, duration, users,`},
		{"twice", target + "stages:\n  - users: 1\n    users: 2\n    duration: 1s\n", 5, "already"},
		{"wrong type", target + "stages:\n  - duration: 1s\n    users: many\n", 5, "stages[0].users: expected a whole number, not text"},
		{"no target", "stages:\n  - {users: 1, duration: 1s}\n", 1, "expected the model to ask"},
		{"no stage", target, 1, "expected at least one stage"},
		{"neither users nor rate", target + "stages:\n  - duration: 1s\n", 4, "expected one of users (closed loop), rate (open loop) or replay, got 0"},
		{"users and rate", target + "stages:\n  - {users: 1, rate: 1, duration: 1s}\n", 4, "got 2"},
		{"negative rate", target + "stages:\n  - duration: 1s\n    rate: -1\n", 5, "expected 0 to 50000 requests a second, not -1"},
		{"negative users", target + "stages:\n  - duration: 1s\n    users: -1\n", 5, "expected 0 to 20000 users, not -1"},
		{"half a user", target + "stages:\n  - {duration: 1s, users: 2, from: 1.5}\n", 4, "expected a whole number of users"},
		{"no duration", target + "stages:\n  - users: 1\n", 4, "expected how long the stage lasts"},
		{"duration without a unit", target + "stages:\n  - users: 1\n    duration: \"30\"\n", 5, `such as 30s or 1m30s, not "30"`},
		{"duration as a number", target + "stages:\n  - users: 1\n    duration: 30\n", 5, "stages[0].duration: expected a time such as 30s or 1m30s, not a number"},
		{"a stage for stages", target + "stages: {users: 1, duration: 1s}\n", 3, "stages: expected a list, not fields with values"},
		{"a list", "- users\n", 1, "expected fields with values, not a list"},
		{"no number", target + "stages:\n  - {rate: .nan, duration: 1s}\n", 4, "expected a number, not .nan"},
		{"two scenarios", target + "stages:\n  - {users: 1, duration: 1s}\n---\nname: b\n", 6, "a second document"},
		{"a change after the end", target + "stages:\n  - {users: 1, duration: 1s}\ntail: 1s\nchanges:\n  - {at: 2s, apply: svc.yaml}\n", 7, "expected a time before the run's end at 2s, not 2s"},
		{"no speed", target + "stages:\n  - replay: trace.csv\n    speed: 0\n", 5, "expected a speed above 0"},
		{"a trace of years", target + "stages:\n  - replay: trace.csv\n    speed: 1e-300\n", 4, "trace.csv:3: expected a time within 24h0m0s of the first"},
		{"no image", "target: {model: digits}\ninputs: {images: fake}\nstages:\n  - {users: 1, duration: 1s}\n", 2, "a.png: expected an image, not text/plain"},
		{"a folder for a file", "target: {model: digits, api: json}\ninputs: {bodies: images}\nstages:\n  - {users: 1, duration: 1s}\n", 2, "expected a file with a JSON body in each line"},
		{"a URL without a host", "target: {url: \"http:///x\"}\nstages:\n  - {users: 1, duration: 1s}\n", 1, "expected http://HOST"},
		{"a URL with no port", "target: {url: \"http://127.0.0.1:99999/\"}\nstages:\n  - {users: 1, duration: 1s}\n", 1, "expected http://HOST"},
		{"no time at all", target + "stages:\n  - users: 1\n    duration: 0s\n", 5, "expected a time from"},
		{"think backwards", target + "stages:\n  - users: 1\n    duration: 1s\n    think: 3s..1s\n", 6, "expected the shorter time first"},
		{"a wave below zero", target + "stages:\n  - rate: 1\n    duration: 1s\n    sine: {amplitude: 2, period: 1s}\n", 6, "expected at most the rate of 1"},
		{"a spike after the end", target + "stages:\n  - rate: 1\n    duration: 5s\n    spike: {to: 2, at: 4s, for: 2s}\n", 6, "expected the spike to end within the stage's 5s"},
		{"repeated never", target + "stages:\n  - repeat: 0\n    stages: [{users: 1, duration: 1s}]\n", 4, "expected 1 to 1000 times, not 0"},
		{"nothing to repeat", target + "stages:\n  - repeat: 2\n", 4, "expected repeat and stages together"},
		{"stages within a stage", target + "stages:\n  - stages: [{users: 1, duration: 1s}]\n", 4, "expected repeat and stages together"},
		{"repeated and a stage", target + "stages:\n  - repeat: 2\n    users: 1\n    stages: [{users: 1, duration: 1s}]\n", 4, "expected nothing beside repeat and stages"},
		{"a repeated stage that is wrong", target + "stages:\n  - repeat: 2\n    stages:\n      - {users: 1, duration: 1s}\n      - {users: -1, duration: 1s}\n", 7, "stages[0].stages[1].users: expected 0 to 20000"},
		{"repeated within others", target + "stages:\n  - repeat: 2\n    stages:\n      - repeat: 2\n        stages: [{users: 1, duration: 1s}]\n", 6, "expected a stage, not stages that are repeated"},
		{"missing trace", target + "stages:\n  - replay: gone.csv\n", 4, "expected a file that is there"},
		{"trace backwards", target + "stages:\n  - replay: backwards.csv\n", 4, "backwards.csv:2: expected times in order"},
		{"trace of words", target + "stages:\n  - replay: words.csv\n", 4, "words.csv:2: expected a time in seconds"},
		{"missing inputs", "target: {model: digits}\nstages:\n  - {users: 1, duration: 1s}\n", 1, "expected images (a folder) or bodies"},
		{"missing file", "target: {model: digits, api: json}\ninputs:\n  bodies: gone.jsonl\nstages:\n  - {users: 1, duration: 1s}\n", 3, "expected a file that is there"},
		{"broken body", "target: {model: digits, api: json}\ninputs:\n  bodies: broken.jsonl\nstages:\n  - {users: 1, duration: 1s}\n", 3, "broken.jsonl:2: expected one JSON value"},
		{"JSON as bytes", "target: {model: digits}\ninputs:\n  bodies: bodies.jsonl\nstages:\n  - {users: 1, duration: 1s}\n", 3, "bytes takes images"},
		{"JSON of another API", "target: {model: digits, api: grpc}\ninputs:\n  bodies: bodies.jsonl\nstages:\n  - {users: 1, duration: 1s}\n", 3, "bodies.jsonl:1: expected a ModelInferRequest in JSON"},
		{"unknown API", "target:\n  model: digits\n  api: soap\ninputs: {images: images}\nstages:\n  - {users: 1, duration: 1s}\n", 3, `expected bytes, json, v2, events, grpc or grpc-predict, not "soap"`},
		{"model and URL", "target:\n  model: digits\n  url: http://127.0.0.1/\ninputs: {images: images}\nstages:\n  - {users: 1, duration: 1s}\n", 3, "expected either a model or a url"},
		{"no URL", "target:\n  url: 127.0.0.1:80\nstages:\n  - {users: 1, duration: 1s}\n", 2, "expected http://"},
		{"loads and stages", target + "stages:\n  - {users: 1, duration: 1s}\nloads:\n  - {name: a}\n", 5, "expected either loads, or one target"},
		{"missing service", target + "stages:\n  - {users: 1, duration: 1s}\nservices:\n  - gone.yaml\n", 6, "expected a file that is there"},
		{"changes out of order", target + "stages:\n  - {users: 1, duration: 1s}\nchanges:\n  - {at: 2s, apply: svc.yaml}\n  - {at: 1s, apply: svc.yaml}\n", 7, "in the order of their times"},
		{"no threshold", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - fast\n", 6, "expected METRIC OP VALUE"},
		{"unknown metric", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - p42 < 1s\n", 6, "there is no metric p42: it is one of p50"},
		{"a latency without a unit", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - p95 < 300\n", 6, "missing unit"},
		{"errors without per cent", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - errors < 1\n", 6, "expected per cent"},
		{"replicas of nothing", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - replicas == 1\n", 6, "expected a service or a revision"},
		{"a share of another metric", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - p95 < 50% of rate(stage 1)\n", 6, "expected a share of the same metric"},
		{"a share of nothing", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - rate > 50% of rate(full)\n", 6, `there is no stage or load "full"`},
		{"a stage that is not there", target + "stages:\n  - {users: 1, duration: 1s}\nthresholds:\n  - p95(full) < 1s\n", 6, `there is no stage or load "full"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, tt.text)
			_, err := Read(path)
			if err == nil {
				t.Fatal("it was taken")
			}
			if at := fmt.Sprintf("%s:%d: ", path, tt.line); !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("want %s…%s; got\n%v", at, tt.says, err)
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		_, err := Read(write(t, target+"stages:\n  - {users: -1, duration: 1s}\n  - {rate: -1, duration: x}\n"))
		if err == nil || strings.Count(err.Error(), "\n") != 2 {
			t.Errorf("want three problems, one a line; got\n%v", err)
		}
	})
	if _, err := Read(filepath.Join(t.TempDir(), "gone.yaml")); err == nil {
		t.Error("a file that is not there was read")
	}
}
