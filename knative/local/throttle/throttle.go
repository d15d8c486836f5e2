// Package throttle stands before one revision's replicas as Knative's activator and queue-proxy do: it holds requests
// while there is no replica or all are busy, chooses a replica, never sends it more than its container concurrency, and
// tries another one when a replica is lost. It does not know what a replica is nor how many there should be.
package throttle

import (
	"errors"
	"net/http"
	"time"
)

// Options configure a Throttle. The zero value works.
type Options struct {
	// Revision is the revision's name, for X-Weir-Revision and errors.
	Revision string
	// ContainerConcurrency is how many requests a replica gets at a time; 0 is no limit.
	ContainerConcurrency int
	// QueueDepth is how many requests may wait. If zero, 10 x ContainerConcurrency, and 10,000 if that has no limit.
	QueueDepth int
	// Timeout is the revision's timeoutSeconds: from a request's arrival to the first byte of its answer. If zero, 300 s.
	Timeout time.Duration
	// Transport sends a request to a replica. If nil, an http.Transport tuned for many connections to few addresses.
	Transport http.RoundTripper
	// Now is the clock of the statistics. If nil, time.Now.
	Now func() time.Time
}

// Report is what has happened since the report before.
type Report struct {
	// AverageConcurrency is the time-weighted mean number of requests here: executing and waiting.
	AverageConcurrency float64
	// RequestCount counts the requests that arrived, as Knative's activator does.
	RequestCount float64
	// Finished counts the requests that ended, whatever the answer.
	Finished float64
	// Executing is the time-weighted mean number of requests at the replicas: the sum of PerReplica.
	Executing float64
	// PerReplica is the time-weighted mean number of requests at each replica, by name.
	PerReplica map[string]float64
	// InFlight is how many requests are at the replicas now, Queued how many wait.
	InFlight, Queued int
}

// Throttle is an http.RoundTripper to the replicas of a revision. Its methods may be called from any goroutine.
type Throttle struct{}

// New returns a Throttle without replicas.
func New(o Options) *Throttle { return &Throttle{} }

// RoundTrip sends the request to a replica, whatever req.URL.Host says, once there is one that may take it.
func (t *Throttle) RoundTrip(req *http.Request) (*http.Response, error) {
	return nil, errors.ErrUnsupported
}

// Add makes a ready replica take requests. addr is host:port.
func (t *Throttle) Add(name, addr string) {}

// Remove sends a replica no new requests. The channel is closed when the requests it has are done.
func (t *Throttle) Remove(name string) (drained <-chan struct{}) { return nil }

// Lost forgets a replica that died.
func (t *Throttle) Lost(name string) {}

// Fail makes waiting and new requests fail with knative.ErrNotReady and the reason for as long as there is no replica.
// A nil reason makes requests wait again.
func (t *Throttle) Fail(reason error) {}

// Poke receives when a request arrives while there is no replica. Several requests may give one value.
func (t *Throttle) Poke() <-chan struct{} { return nil }

// Report returns what has happened since the last Report, or New. Only one caller may use it.
func (t *Throttle) Report(now time.Time) Report { return Report{} }

// Close fails waiting and new requests with knative.ErrNotReady and closes idle connections.
func (t *Throttle) Close() {}
