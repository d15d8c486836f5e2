package later

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/soon"
)

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
		soon.Next(t, "a prediction", predicted)
	}
	await(t, func() bool { return down.count() == 1 })
	cancel()
	if err := soon.Next(t, "Run's end", ended); err != nil {
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
