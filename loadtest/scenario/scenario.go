// Package scenario reads what a load test is to do: which models get which requests, when, and what has to hold. It sends
// nothing.
package scenario

import (
	"slices"
	"time"
)

// API is the way in which a model is asked.
type API string

// The APIs that a load may speak.
const (
	Bytes  API = "bytes"  // an image as it is, to TensorFlow Serving's path
	JSON   API = "json"   // TensorFlow Serving's REST API
	V2     API = "v2"     // the Open Inference Protocol
	Events API = "events" // CloudEvents, binary

	GRPC    API = "grpc"         // the Open Inference Protocol's ModelInfer
	Predict API = "grpc-predict" // TensorFlow Serving's Predict
)

// Calls says that the API is gRPC.
func (a API) Calls() bool { return a == GRPC || a == Predict }

// Scenario is a load test.
type Scenario struct {
	Name string
	// Look says what to look for in the report.
	Look string
	// File is where it was read from.
	File string
	// Services are manifests applied before the load and deleted after it.
	Services []string
	// Loads run side by side.
	Loads []Load
	// Changes are made while the loads run, in the order of At.
	Changes []Change
	// Tail is how long to watch the replicas after the last load.
	Tail time.Duration
	// Thresholds make the exit code.
	Thresholds []Threshold
}

// Load is requests to one target, stage after stage.
type Load struct {
	Name   string
	Target Target
	// Inputs are the bodies, used in turn.
	Inputs []Input
	Stages []Stage
}

// Target says whom to ask and how.
type Target struct {
	Model   string
	Tag     string
	Version int64
	API     API
	// URL is asked as it is, instead of a model, with POST, or GET if there is no input.
	URL string
	// Timeout bounds a request.
	Timeout time.Duration
}

// Input is one request's body.
type Input struct {
	ContentType string
	Header      map[string]string
	Body        []byte
}

// Stage is one kind of load for a while: users (closed loop) or arrivals (open loop). Stages of one name count together.
type Stage struct {
	Name string
	// Turn is how many stages of that name come before it in its load.
	Turn     int
	Duration time.Duration
	Users    *Users
	Arrivals *Arrivals
}

// Users are callers that wait for an answer before they ask again. Their number goes evenly From one to the other To.
type Users struct {
	From, To int
	// A user waits between Think and ThinkMost after an answer.
	Think, ThinkMost time.Duration
}

// At is the number of users at a time within a stage of a length.
func (u Users) At(t, length time.Duration) int {
	if t >= length || length <= 0 {
		return u.To
	}
	return u.From + int(float64(u.To-u.From)*float64(t)/float64(length)+0.5)
}

// Arrivals are requests a second, whatever the answers. The rate goes evenly From one to the other To, plus what Sine
// and Spike add. Trace replaces it all.
type Arrivals struct {
	From, To float64
	Sine     *Sine
	Spike    *Spike
	// Trace are the times of arrivals since the stage's begin.
	Trace []time.Duration
}

// Sine adds a wave to the rate.
type Sine struct {
	Amplitude float64
	Period    time.Duration
}

// Spike raises the rate to To from At on, For so long.
type Spike struct {
	To      float64
	At, For time.Duration
}

// Change applies a manifest some time after the begin.
type Change struct {
	At       time.Duration
	Manifest string
}

// Duration is how long a load runs.
func (l Load) Duration() time.Duration {
	var d time.Duration
	for _, s := range l.Stages {
		d += s.Duration
	}
	return d
}

// Duration is how long the loads run, without the tail.
func (s *Scenario) Duration() time.Duration {
	var d time.Duration
	for _, l := range s.Loads {
		d = max(d, l.Duration())
	}
	return d
}

// Models returns the models that the loads are for, each once.
func (s *Scenario) Models() (names []string) {
	for _, l := range s.Loads {
		if m := l.Target.Model; m != "" && !slices.Contains(names, m) {
			names = append(names, m)
		}
	}
	return names
}

// Stretch makes the loads last d together: all times of the scenario change in proportion, rates and users stay. A trace is
// cut where its stage ends.
func (s *Scenario) Stretch(d time.Duration) {
	factor := float64(d) / float64(s.Duration())
	scale := func(t *time.Duration) { *t = time.Duration(float64(*t) * factor) }
	for _, l := range s.Loads {
		for i := range l.Stages {
			scale(&l.Stages[i].Duration)
			if a := l.Stages[i].Arrivals; a != nil && a.Sine != nil {
				scale(&a.Sine.Period)
			}
			if a := l.Stages[i].Arrivals; a != nil && a.Spike != nil {
				scale(&a.Spike.At)
				scale(&a.Spike.For)
			}
		}
	}
	for i := range s.Changes {
		scale(&s.Changes[i].At)
	}
	scale(&s.Tail)
}
