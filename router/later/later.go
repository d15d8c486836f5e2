// Package later is delivery at leisure: it keeps accepted events in a file, predicts when it can, and brings the answers
// to a sink, with retries, or to a dead letter. An event that was accepted outlives the process: what is in the file when
// a Queue opens goes on. So an answer may come twice, with the same id, and in any order.
//
// It knows neither models nor how events ask for this.
package later

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"weir.dev/weir/internal/server"
)

// ErrFull says that no more events are taken for now.
var ErrFull = errors.New("the queue of events to answer later is full")

// Request is an event to answer later, as it came.
type Request struct {
	Header http.Header
	Body   []byte
	// Sink gets the answer. If empty, Options.Sink.
	Sink string
}

// Answer is the event that answers a Request: a prediction, or the error that no other try would mend.
type Answer struct {
	Header http.Header
	Body   []byte
}

// Predict asks the model. Its error means that another try may succeed; a DeliveryError says what goes to the dead letter when
// none does.
type Predict func(ctx context.Context, r Request) (Answer, error)

// Options of a Queue. File, Predict and a sink or an allowed one are needed.
type Options struct {
	// File keeps the events; its folder is made.
	File string
	// Sink gets the answers to events that name none.
	Sink string
	// Allow are the addresses, with all that is below them, that events may name as their sink besides Sink.
	Allow []string
	// DeadLetter gets what could not be delivered. If empty, that is logged and dropped.
	DeadLetter string
	// Extensions are set on every event that is sent (Knative's K_CE_OVERRIDES).
	Extensions map[string]string
	// Retries is how often a failed prediction or delivery is tried again. If zero, 10; if negative, never.
	Retries int
	// BackOff is the wait before the first retry; each later one is twice as long, up to MaxBackOff. If zero, 200 ms and
	// two minutes.
	BackOff, MaxBackOff time.Duration
	// Timeout bounds one delivery. If zero, 30 s.
	Timeout time.Duration
	// Events and Bytes bound what waits, in memory and in the file. If zero, 1,000 and 256 MiB.
	Events int
	Bytes  int64
	// AtOnce bounds the predictions that run at a time, and as many deliveries. If zero, 16.
	AtOnce int
	// Drain is how long what runs may go on after the end was asked for. If zero, 30 s.
	Drain time.Duration
	// Registry gets the metrics. If nil, nobody does.
	Registry prometheus.Registerer
	// Log gets what is dropped and what fails for good.
	Log zerolog.Logger
}

func (o Options) withDefaults() Options {
	set(&o.Retries, 10)
	set(&o.BackOff, 200*time.Millisecond)
	set(&o.MaxBackOff, 2*time.Minute)
	set(&o.Timeout, 30*time.Second)
	set(&o.Events, 1000)
	set(&o.Bytes, 256<<20)
	set(&o.AtOnce, 16)
	set(&o.Drain, 30*time.Second)
	o.Retries = max(o.Retries, 0)
	return o
}

func set[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Validate reports every problem at once.
func (o Options) Validate() error {
	var problems []error
	if o.Sink == "" && len(o.Allow) == 0 {
		problems = append(problems, errors.New("no sink for answers"))
	}
	for _, address := range append([]string{o.Sink, o.DeadLetter}, o.Allow...) {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
			problems = append(problems, fmt.Errorf("sink %q: expected an address such as http://HOST/PATH", address))
		}
	}
	for name := range o.Extensions {
		if !validName(name) {
			problems = append(problems, fmt.Errorf("extension %q: expected lower-case letters and digits", name))
		}
	}
	return errors.Join(problems...)
}

// Queue keeps accepted events until they are delivered. It is safe for concurrent use.
type Queue struct {
	options Options
	journal *journal
	client  *http.Client
	metrics *metrics
	predict Predict

	predicting, delivering chan struct{} // a token for each that runs

	wake  chan struct{} // has a value when there are new keys
	mu    sync.Mutex
	fresh []uint64
}

// Open opens the file and counts what waits in it.
func Open(o Options) (*Queue, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	j, err := openJournal(o.File, o.Events, o.Bytes)
	if err != nil {
		return nil, err
	}
	q := &Queue{
		options: o, journal: j, metrics: newMetrics(j),
		client: &http.Client{
			Transport: server.NewTransport(false), Timeout: o.Timeout,
			// A sink that redirects would have the answer go where nobody allowed it.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		predicting: make(chan struct{}, o.AtOnce), delivering: make(chan struct{}, o.AtOnce),
		wake: make(chan struct{}, 1), fresh: j.keys(),
	}
	q.wake <- struct{}{}
	if o.Registry != nil {
		if err := q.metrics.register(o.Registry); err != nil {
			return nil, errors.Join(err, j.close())
		}
	}
	return q, nil
}

// Allowed reports whether answers may be sent to an address.
func (q *Queue) Allowed(sink string) bool { return allowed(sink, q.options.Sink, q.options.Allow) }

// HasSink reports whether there is a sink for events that name none.
func (q *Queue) HasSink() bool { return q.options.Sink != "" }

// Accept takes all requests or none. When it returns nil, they are on the disk. It returns ErrFull when they do not fit.
func (q *Queue) Accept(requests ...Request) error {
	records := make([]record, len(requests))
	now := time.Now()
	for i, r := range requests {
		set(&r.Sink, q.options.Sink)
		if !q.Allowed(r.Sink) {
			return fmt.Errorf("sink %q is not allowed", r.Sink)
		}
		records[i] = record{Accepted: now, Sink: r.Sink, Header: r.Header, body: r.Body}
	}
	keys, err := q.journal.add(records)
	if err != nil {
		q.metrics.events.WithLabelValues(outcomeRefused).Add(float64(len(requests)))
		return err
	}
	q.metrics.events.WithLabelValues(outcomeAccepted).Add(float64(len(requests)))
	q.mu.Lock()
	q.fresh = append(q.fresh, keys...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// Run answers events by predict until ctx ends, and closes the file after what runs has ended, or was cut off. It is
// called once.
func (q *Queue) Run(ctx context.Context, predict Predict) error {
	q.predict = predict
	work, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	if n := q.journal.waiting(); n > 0 {
		q.options.Log.Info().Int("events", n).Msg("events of an earlier run are answered now")
	}
	var running sync.WaitGroup
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-q.wake:
			for _, key := range q.take() {
				running.Go(func() { q.settle(ctx, work, key) })
			}
		}
	}
	bound := time.AfterFunc(q.options.Drain, cut)
	running.Wait()
	bound.Stop()
	q.client.CloseIdleConnections()
	return q.journal.close()
}

func (q *Queue) take() []uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := q.fresh
	q.fresh = nil
	return keys
}

// Close closes the file of a Queue that does not run.
func (q *Queue) Close() error { return q.journal.close() }
