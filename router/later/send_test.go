package later

import (
	"encoding/base64"
	"errors"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

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
