// Package measure turns requests and looks at an engine into what a report shows: rows over time, summaries, failures,
// scaling decisions, verdicts on thresholds. It sends nothing and writes no file.
package measure

import (
	"time"

	"weir.dev/weir/knative"
)

// Run is a load test as it was. All times in it are seconds since Started, all latencies milliseconds.
type Run struct {
	Scenario string    `json:"scenario"`
	Look     string    `json:"look,omitempty"`
	Engine   string    `json:"engine"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Running  bool      `json:"running,omitempty"`
	// Died says that the target did not answer any more.
	Died bool `json:"died,omitempty"`
	// CPUs is what everything shares, the sender included.
	CPUs int `json:"cpus"`
	// Targets are the services that the loads are for; those of URLs are not known.
	Targets []string `json:"targets,omitempty"`
	// Notes say what a reader has to know: a run that was ended early, a target that died.
	Notes []string `json:"notes"`
	// Unknown are figures of revisions that the engine did not tell; their values are zero.
	Unknown    []knative.Figure `json:"unknown,omitempty"`
	Stages     []Span           `json:"stages"`
	Rows       []Row            `json:"rows"`
	Decisions  []Mark           `json:"decisions"`
	Cold       []Cold           `json:"cold"`
	Failures   []Failure        `json:"failures"`
	Summaries  []Summary        `json:"summaries"`
	Thresholds []Verdict        `json:"thresholds"`
	Revisions  []Revision       `json:"revisions"`
}

// Failed says that a threshold does not hold.
func (r *Run) Failed() bool {
	for _, v := range r.Thresholds {
		if !v.Holds {
			return true
		}
	}
	return false
}

// Revision is one that was seen.
type Revision struct {
	Name    string `json:"name"`
	Service string `json:"service"`
}

// Span is when a stage of a load ran.
type Span struct {
	Load  string  `json:"load"`
	Name  string  `json:"name"`
	Begin float64 `json:"begin"`
	End   float64 `json:"end"`
}

// Row is one second.
type Row struct {
	T float64 `json:"t"`
	// Users there are, Rate the arrivals a second that are wanted of open loops.
	Users int     `json:"users"`
	Rate  float64 `json:"rate"`
	// Sent, OK, Refused (503 and 429) and Failed (all else) are requests a second.
	Sent    float64 `json:"sent"`
	OK      float64 `json:"ok"`
	Refused float64 `json:"refused"`
	Failed  float64 `json:"failed"`
	// Percentiles of good answers that ended in this second, corrected; null if there was none.
	P50 *float64 `json:"p50"`
	P95 *float64 `json:"p95"`
	P99 *float64 `json:"p99"`
	// RefusedP99 is that of refusals.
	RefusedP99 *float64 `json:"refusedP99,omitempty"`
	// Opened is the new connections a second, ConnectP99 how long requests waited for theirs, new or kept.
	Opened     float64  `json:"opened"`
	ConnectP99 *float64 `json:"connectP99,omitempty"`
	Cold       int      `json:"cold"`
	// Generator is the processors that the sender used.
	Generator float64 `json:"generator"`
	// Revisions has what the engine says of each; nil if it did not answer.
	Revisions map[string]RevisionRow `json:"revisions"`
	// Engine is what weir's own process used.
	Engine *Use `json:"engine,omitempty"`
}

// RevisionRow is a revision in one second.
type RevisionRow struct {
	Ready       int     `json:"ready"`
	Starting    int     `json:"starting"`
	Wanted      int     `json:"wanted"`
	Concurrency float64 `json:"concurrency"`
	Queue       int     `json:"queue"`
	RPS         float64 `json:"rps"`
	Percent     int     `json:"percent"`
	// CPU is in processors, Memory in MB, of all replicas together; Replicas has each.
	CPU      float64        `json:"cpu"`
	Memory   float64        `json:"memory"`
	Replicas map[string]Use `json:"replicas,omitempty"`
}

// Use is what a process uses: processors and MB.
type Use struct {
	CPU    float64 `json:"cpu"`
	Memory float64 `json:"memory"`
}

// Mark is a decision that changed the number of replicas.
type Mark struct {
	T        float64 `json:"t"`
	Revision string  `json:"revision"`
	From     int     `json:"from"`
	knative.Decision
}

// Cold is a request that waited for a replica to start.
type Cold struct {
	T        float64 `json:"t"`
	Revision string  `json:"revision"`
	Latency  float64 `json:"latency"`
}

// Failure counts the requests that failed in one way.
type Failure struct {
	Load string `json:"load"`
	// Status is 0 if there was no answer.
	Status  int     `json:"status"`
	Message string  `json:"message"`
	Count   int     `json:"count"`
	First   float64 `json:"first"`
	Last    float64 `json:"last"`
}

// Summary is the whole of a run, of a load or of a stage.
type Summary struct {
	// Name is empty for the whole run.
	Name     string  `json:"name"`
	Kind     string  `json:"kind"` // run, load or stage
	Seconds  float64 `json:"seconds"`
	Requests int     `json:"requests"`
	OK       int     `json:"ok"`
	Refused  int     `json:"refused"`
	Failed   int     `json:"failed"`
	Cold     int     `json:"cold"`
	// Rate counts all answers a second, Goodput the good ones.
	Rate    float64 `json:"rate"`
	Goodput float64 `json:"goodput"`
	// Latencies are those of good answers, corrected for coordinated omission; Seen are the same as the sender saw them.
	Latencies Quantiles `json:"latencies"`
	Seen      Quantiles `json:"seen"`
	// Opened counts new connections; ConnectP99 is how long requests waited for theirs, RefusedAnswerP99 of refusals the time
	// from then on.
	Opened           int     `json:"opened"`
	ConnectP99       float64 `json:"connectP99"`
	RefusedAnswerP99 float64 `json:"refusedAnswerP99"`
	// RefusedP99 is of refusals, Hasty the refusals without a Retry-After.
	RefusedP99 float64 `json:"refusedP99"`
	Hasty      int     `json:"hasty"`
}

// Quantiles of latencies, in milliseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// Verdict says whether a threshold holds.
type Verdict struct {
	Text  string  `json:"text"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Holds bool    `json:"holds"`
	// Missing says why there is no value.
	Missing string `json:"missing,omitempty"`
}
