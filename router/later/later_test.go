package later

import (
	"context"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/internal/soon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		if err := soon.Next(t, "Run's end", ended); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
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

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Sink: "host"}, {Sink: "ftp://host"}, {Allow: []string{"http://"}}, {Sink: "http://a", DeadLetter: "x"}, {Sink: "http://a", Extensions: map[string]string{"A": "b"}}} {
		if o.Validate() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
