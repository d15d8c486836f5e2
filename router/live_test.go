package router

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// viewer reads a stream of /home/live.
type viewer struct {
	res   *http.Response
	lines *bufio.Scanner
}

func view(t *testing.T, f *fixture) *viewer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/home/live", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return &viewer{res, bufio.NewScanner(res.Body)}
}

// next returns the data of the next event; ok is false at the stream's end.
func (v *viewer) next() (data string, ok bool) {
	for v.lines.Scan() {
		if data, ok := strings.CutPrefix(v.lines.Text(), "data: "); ok {
			return data, true
		}
	}
	return "", false
}

// run starts f's Run and returns a function that ends it and waits.
func run(t *testing.T, f *fixture) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.rt.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := soon.Next(t, "Run's end", done); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestLive(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo), Limits: Limits{Viewers: 2}})
	stop := run(t, f)
	a, b := view(t, f), view(t, f)
	if kind := a.res.Header.Get("Content-Type"); kind != "text/event-stream" || a.res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", a.res.Header)
	}
	data, ok := a.next()
	var got struct {
		Time     int64
		Services []knative.ServiceStatus
	}
	if err := json.Unmarshal([]byte(data), &got); err != nil || !ok || got.Time == 0 {
		t.Fatalf("%q: %v", data, err)
	}
	if diff := cmp.Diff(services(), got.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if again, ok := a.next(); !ok || again == data {
		t.Errorf("the second event is %q", again)
	}
	if _, ok := b.next(); !ok {
		t.Error("the second viewer gets nothing")
	}
	if third := f.do(t, ask{method: "GET", path: "/home/live"}); third.status != http.StatusServiceUnavailable {
		t.Errorf("a viewer too many gets %d", third.status)
	}
	stop()
	for _, ok := a.next(); ok; _, ok = a.next() {
	}
	if err := a.lines.Err(); err != nil {
		t.Errorf("the stream ends with %v", err)
	}
}

// TestLiveSamplesOnce counts the readings for no viewer, one and many, in virtual time.
func TestLiveSamplesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		l := newLive(func(context.Context) ([]knative.ServiceStatus, error) { reads.Add(1); return nil, nil }, 64)
		ctx, cancel := context.WithCancel(t.Context())
		go l.run(ctx)
		time.Sleep(10500 * time.Millisecond) // virtual, and not on a tick
		if n := reads.Load(); n != 0 {
			t.Errorf("%d readings for nobody", n)
		}
		var viewers []chan []byte
		for range 50 {
			v, err := l.join()
			if err != nil {
				t.Fatal(err)
			}
			viewers = append(viewers, v)
		}
		synctest.Wait()
		for i, v := range viewers {
			select {
			case event := <-v:
				if !strings.HasPrefix(string(event), `data: {"time":`) || !strings.HasSuffix(string(event), `"services":[]}`+"\n\n") {
					t.Errorf("viewer %d got %q", i, event)
				}
			default:
				t.Errorf("viewer %d got nothing at once", i)
			}
		}
		time.Sleep(10*time.Second + time.Millisecond) // virtual
		if n := reads.Load(); n != 11 {
			t.Errorf("%d readings in 10 s for 50 viewers, want 11", n)
		}
		if late, err := l.join(); err != nil || len(late) != 1 {
			t.Errorf("a late viewer gets no event at once: %v", err)
		} else {
			l.leave(late)
		}
		for _, v := range viewers {
			l.leave(v)
		}
		time.Sleep(10 * time.Second) // virtual
		if n := reads.Load(); n != 11 {
			t.Errorf("%d readings after all left", n)
		}
		cancel()
		<-l.ended
	})
}

// TestRunFollowsChanges changes what runs and looks at the list.
func TestRunFollowsChanges(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, failing := services(), error(nil)
	reads := make(chan struct{}, 100)
	b := replicaBackend(t, echo)
	b.StatusFn = func(context.Context) ([]knative.ServiceStatus, error) {
		mu.Lock()
		defer mu.Unlock()
		reads <- struct{}{}
		return now, failing
	}
	f := start(t, Options{Backend: b})
	soon.Next(t, "a reading", reads)
	run(t, f)
	soon.Next(t, "a reading", reads)
	set := func(s []knative.ServiceStatus, err error) {
		mu.Lock()
		now, failing = s, err
		mu.Unlock()
		b.change()
	}
	list := func() string { return f.do(t, ask{method: "GET", path: "/v2/models"}).body }
	set(services()[:1], nil)
	waitFor(t, func() bool { return list() == `{"models":["digits"]}`+"\n" }, list)
	// A reading that fails changes nothing, and is tried again.
	set(nil, errors.New("engine is busy"))
	waitFor(t, func() bool { return strings.Contains(f.log.String(), "engine is busy") }, f.log.String)
	if got := list(); got != `{"models":["digits"]}`+"\n" {
		t.Errorf("models after a failed reading: %s", got)
	}
	mu.Lock()
	now, failing = services(), nil
	mu.Unlock()
	waitFor(t, func() bool { return list() == `{"models":["digits","imagenet"]}`+"\n" }, list)
	// A Service that cannot be routed to leaves the others alone.
	bad := services()
	bad[0].EventTypes = bad[1].EventTypes
	bad[1].Revisions[0].Percent = 400
	set(bad, nil)
	waitFor(t, func() bool { return list() == `{"models":["digits"]}`+"\n" }, list)
	if !strings.Contains(f.log.String(), "400 is not a percentage") {
		t.Errorf("the log does not say why imagenet is left out: %s", f.log)
	}
}

func TestBeforeTheFirstReading(t *testing.T) {
	t.Parallel()
	f := &fixture{log: &logBuffer{}}
	rt, err := New(Options{Backend: replicaBackend(t, echo)})
	if err != nil {
		t.Fatal(err)
	}
	f.rt = rt
	for _, a := range []ask{{method: "GET", path: "/readyz"}, {method: "GET", path: "/v2/health/ready"}, {method: "GET", path: "/v1/models"}, {path: "/v1/models/digits:predict"}} {
		got := f.record(t, a)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %s", a.path, got.status, got.body)
		}
	}
	if got := f.record(t, ask{method: "GET", path: "/healthz"}); got.status != http.StatusOK {
		t.Errorf("/healthz: %d", got.status)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	b := &fakeBackend{}
	for name, o := range map[string]Options{
		"no backend":     {},
		"negative limit": {Backend: b, Limits: Limits{Body: -1}},
		"max under":      {Backend: b, Limits: Limits{MaxTimeout: time.Second}},
		"bad allow":      {Backend: b, Fetch: fetchAllow("x")},
	} {
		if rt, err := New(o); err == nil || rt != nil {
			t.Errorf("%s: New = %v, %v", name, rt, err)
		}
	}
}
