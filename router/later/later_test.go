package later

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is a real one: it answers with the statuses of its list, then 202, and tells of the events it took.
type sink struct {
	url   string
	taken chan *event.Event

	mu       sync.Mutex
	statuses []int
	calls    int
}

func newSink(t *testing.T, statuses ...int) *sink {
	t.Helper()
	s := &sink{taken: make(chan *event.Event, 100), statuses: statuses}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls++
		status := http.StatusAccepted
		if len(s.statuses) > 0 {
			status, s.statuses = s.statuses[0], s.statuses[1:]
		}
		s.mu.Unlock()
		e, err := binding.ToEvent(r.Context(), cehttp.NewMessageFromHttpRequest(r))
		if err != nil || e.Validate() != nil {
			t.Errorf("the sink got no event: %v %v", err, e)
		}
		if status >= 300 {
			w.Header().Set("Location", "/elsewhere")
			http.Error(w, "no "+strconv.Itoa(status), status)
			return
		}
		w.WriteHeader(status)
		s.taken <- e
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *sink) next(t *testing.T) *event.Event {
	t.Helper()
	select {
	case e := <-s.taken:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		return nil
	}
}

// heal lets the sink take what comes from now on.
func (s *sink) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// await polls what another goroutine makes true.
func await(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it does not come true")
		}
	}
}

// eventOf is an event in binary mode.
func eventOf(id, body string) (http.Header, []byte) {
	return http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/test"}, "Ce-Type": {"t"}, "Content-Type": {"application/json"}}, []byte(body)
}

func request(id string) Request {
	h, b := eventOf(id, `"`+id+`"`)
	return Request{Header: h, Body: b}
}

// echo answers a request with an event whose data and causationid are the request's.
func echo(_ context.Context, r Request) (Answer, error) {
	h, b := eventOf("answer", string(r.Body))
	h.Set("Ce-Causationid", r.Header.Get("Ce-Id"))
	return Answer{h, b}, nil
}

// open opens a queue for tests: it is fast, and o's zero fields are filled in.
func open(t *testing.T, o Options) *Queue {
	t.Helper()
	set(&o.File, filepath.Join(t.TempDir(), "below", "events.db"))
	set(&o.BackOff, time.Millisecond)
	set(&o.MaxBackOff, 5*time.Millisecond)
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run runs q until the returned function is called.
func run(t *testing.T, q *Queue, predict Predict) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx, predict) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestDelivery: a sink that fails is asked again, one that refuses for good is not; the dead letter gets the reason.
func TestDelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		statuses []int
		retries  int
		calls    int
		dead     string // the code that the dead letter is told; empty if the sink took the event
	}{
		{"at once", nil, 3, 1, ""},
		{"again", []int{500, 503, 429, 404, 408, 409}, 6, 7, ""},
		{"too often", []int{500, 500, 502}, 2, 3, "502"},
		{"never again", []int{500}, -1, 1, "500"},
		{"refused", []int{400}, 3, 1, "400"},
		{"redirected", []int{307}, 3, 1, "307"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			to, dead := newSink(t, tt.statuses...), newSink(t, 400, 500) // it is tried until it takes the event
			q := open(t, Options{Sink: to.url, DeadLetter: dead.url, Retries: tt.retries, Extensions: map[string]string{"team": "ü"}})
			stop := run(t, q, echo)
			if err := q.Accept(request("e-1")); err != nil {
				t.Fatal(err)
			}
			at, outcome := to, outcomeDelivered
			if tt.dead != "" {
				at, outcome = dead, outcomeDead
			}
			e := at.next(t)
			stop()
			ext := e.Extensions()
			if ext["causationid"] != "e-1" || string(e.Data()) != `"e-1"` || ext["team"] != "%C3%BC" {
				t.Errorf("%v", e)
			}
			if to.count() != tt.calls {
				t.Errorf("the sink was asked %d times, want %d", to.count(), tt.calls)
			}
			if tt.dead != "" {
				data, err := base64.StdEncoding.DecodeString(ext["knativeerrordata"].(string))
				if err != nil || ext["knativeerrorcode"] != tt.dead || ext["knativeerrordest"] != to.url || string(data) != "no "+tt.dead+"\n" {
					t.Errorf("%v: %q: %v", err, data, ext)
				}
			} else if ext["knativeerrordest"] != nil {
				t.Errorf("%v", ext)
			}
			if n := testutil.ToFloat64(q.metrics.events.WithLabelValues(outcome)); n != 1 {
				t.Errorf("%v events counted as %s", n, outcome)
			}
			if n := testutil.ToFloat64(q.metrics.attempts.WithLabelValues(toSink, "failed")); n != float64(len(tt.statuses)) {
				t.Errorf("%v failed attempts counted", n)
			}
		})
	}
}

// TestPrediction: a prediction that fails is tried again; then the dead letter gets the request.
func TestPrediction(t *testing.T) {
	t.Parallel()
	to, dead := newSink(t), newSink(t)
	q := open(t, Options{Sink: to.url, DeadLetter: dead.url, Retries: 2})
	var mu sync.Mutex
	tries := map[string]int{}
	stop := run(t, q, func(ctx context.Context, r Request) (Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		id := r.Header.Get("Ce-Id")
		if tries[id]++; id == "hopeless" || tries[id] < 3 {
			return Answer{}, &DeliveryError{Dest: "/model", Code: 503, Data: []byte("busy")}
		}
		return echo(ctx, r)
	})
	if err := q.Accept(request("hopeless"), request("e-1")); err != nil {
		t.Fatal(err)
	}
	e, lost := to.next(t), dead.next(t)
	stop()
	if e.Extensions()["causationid"] != "e-1" {
		t.Errorf("%v", e)
	}
	if ext := lost.Extensions(); lost.ID() != "hopeless" || ext["knativeerrordest"] != "/model" || ext["knativeerrorcode"] != "503" || tries["hopeless"] != 3 {
		t.Errorf("%d tries: %v", tries["hopeless"], lost)
	}
}

// TestWithoutDeadLetter: what cannot be delivered is dropped, and counted.
func TestWithoutDeadLetter(t *testing.T) {
	t.Parallel()
	q := open(t, Options{Sink: newSink(t, 400).url})
	stop := run(t, q, echo)
	if err := q.Accept(request("e-1")); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return q.journal.waiting() == 0 })
	stop()
	if n := testutil.ToFloat64(q.metrics.events.WithLabelValues(outcomeDropped)); n != 1 {
		t.Errorf("%v events dropped", n)
	}
}

// TestRestart: what was accepted and is not delivered at the end goes on at the next start, from where it was.
func TestRestart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.db")
	down := newSink(t, slices.Repeat([]int{503}, 1000)...)
	q := open(t, Options{File: file, Sink: down.url, Retries: 1000, BackOff: time.Hour, MaxBackOff: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	predicted := make(chan string, 3)
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(ctx, func(work context.Context, r Request) (Answer, error) {
			id := r.Header.Get("Ce-Id")
			predicted <- id
			switch id {
			case "running":
				<-ctx.Done() // it ends while the queue drains
			case "failing":
				return Answer{}, errors.New("not now")
			}
			return echo(work, r)
		})
	}()
	if err := q.Accept(request("answered"), request("running"), request("failing")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-predicted
	}
	await(t, func() bool { return down.count() == 1 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	up := newSink(t)
	// Fewer are allowed now than wait, and at another sink: they are kept all the same.
	q = open(t, Options{File: file, Sink: up.url, Allow: []string{down.url}, Events: 2})
	if _, err := Open(Options{File: file, Sink: up.url}); err == nil || !strings.Contains(err.Error(), "in use by another router") {
		t.Errorf("opened twice: %v", err)
	}
	down.heal()
	var again []string
	stop := run(t, q, func(ctx context.Context, r Request) (Answer, error) {
		again = append(again, r.Header.Get("Ce-Id"))
		return echo(ctx, r)
	})
	got := map[any]bool{}
	for range 3 {
		got[down.next(t).Extensions()["causationid"]] = true
	}
	stop()
	if len(got) != 3 || !slices.Equal(again, []string{"failing"}) {
		t.Errorf("%v came, %v were predicted again", got, again)
	}
}

// TestCrash: the file of a process that was not asked to end has all that was accepted.
func TestCrash(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.db")
	to := newSink(t)
	q := open(t, Options{File: file, Sink: to.url})
	for i := range 5 {
		if err := q.Accept(request(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Close(); err != nil { // Run never was: nothing but the file is left.
		t.Fatal(err)
	}
	q = open(t, Options{File: file, Sink: to.url})
	stop := run(t, q, echo)
	got := map[string]bool{}
	for range 5 {
		got[to.next(t).Extensions()["causationid"].(string)] = true
	}
	stop()
	if len(got) != 5 {
		t.Errorf("%v", got)
	}
}

// TestFull: what does not fit is refused whole, and room is made by what ends.
func TestFull(t *testing.T) {
	t.Parallel()
	to := newSink(t)
	q := open(t, Options{Sink: to.url, Events: 2})
	if err := q.Accept(request("1"), request("2"), request("3")); !errors.Is(err, ErrFull) || q.journal.waiting() != 0 {
		t.Fatalf("%v, %d wait", err, q.journal.waiting())
	}
	if err := q.Accept(request("1"), request("2")); err != nil {
		t.Fatal(err)
	}
	if err := q.Accept(request("3")); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	stop := run(t, q, echo)
	to.next(t)
	to.next(t)
	await(t, func() bool { return q.Accept(request("3")) == nil })
	to.next(t)
	await(t, func() bool { return q.journal.waiting() == 0 })
	stop()
	if q.journal.bytes != 0 {
		t.Errorf("%d bytes wait", q.journal.bytes)
	}

	large := open(t, Options{Sink: to.url, Bytes: 100})
	if err := large.Accept(request("1")); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if err := large.Close(); err != nil {
		t.Error(err)
	}
}

// TestAllowed: answers go to the sink or below what is allowed, nowhere else.
func TestAllowed(t *testing.T) {
	t.Parallel()
	allow := []string{"http://sinks.example:8080/team/", "https://other.example"}
	for address, want := range map[string]bool{
		"http://own.example/x": true, "http://own.example/y": false, "": false,
		"http://sinks.example:8080/team": true, "http://sinks.example:8080/team/a?b": true, "http://SINKS.example:8080/team/": true,
		"http://sinks.example:8080/teams": false, "http://sinks.example:8080/team/../admin": false, "http://sinks.example:8080/": false,
		"http://sinks.example:8080/team/%2e%2e/admin": false, "http://sinks.example/team/": false, "https://sinks.example:8080/team/": false,
		"https://other.example/any": true, "https://other.example.evil/": false, "https://other.example@evil/": false, "https://evil@other.example/": false,
		"http:other": false, "::": false,
	} {
		if got := allowed(address, "http://own.example/x", allow); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
	q := open(t, Options{Sink: "http://own.example/x"})
	if err := q.Accept(Request{Sink: "http://own.example/y"}); err == nil {
		t.Error("another sink is taken")
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// TestSinkOfBefore: an event whose sink is not allowed any more goes to the dead letter.
func TestSinkOfBefore(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.db")
	before, dead := newSink(t), newSink(t)
	q := open(t, Options{File: file, Sink: before.url})
	if err := errors.Join(q.Accept(request("1")), q.Close()); err != nil {
		t.Fatal(err)
	}
	stop := run(t, open(t, Options{File: file, Sink: "http://127.0.0.1:1", DeadLetter: dead.url}), echo)
	e := dead.next(t)
	stop()
	if before.count() != 0 || e.Extensions()["knativeerrordest"] != before.url {
		t.Errorf("%d calls: %v", before.count(), e)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Sink: "host"}, {Sink: "ftp://host"}, {Allow: []string{"http://"}}, {Sink: "http://a", DeadLetter: "x"}, {Sink: "http://a", Extensions: map[string]string{"A": "b"}}} {
		if o.Validate() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
