package throttle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/knative"
)

func TestQueueIsBounded(t *testing.T) {
	tests := []struct {
		name               string
		o                  Options
		replicas           int
		taken              int // this many are at the replica or wait; the next is refused
		wantQueue, wantNow int
	}{
		{name: "ten places per request at a replica", o: Options{ContainerConcurrency: 2}, replicas: 1, taken: 22, wantQueue: 20, wantNow: 2},
		{name: "as many for each of three replicas", o: Options{ContainerConcurrency: 2}, replicas: 3, taken: 66, wantQueue: 60, wantNow: 6},
		{name: "no replica", o: Options{ContainerConcurrency: 2}, taken: 20, wantQueue: 20},
		{name: "set depth", o: Options{ContainerConcurrency: 1, QueueDepth: 3}, replicas: 1, taken: 4, wantQueue: 3, wantNow: 1},
		{name: "no limit, no replica", o: Options{QueueDepth: 5}, taken: 5, wantQueue: 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld()
				tt.o.Transport = h
				th := New(tt.o)
				for i := range tt.replicas {
					th.Add(fmt.Sprint(i), fmt.Sprintf("1:%d", i+1))
				}
				ctx, cancel := context.WithCancel(t.Context())
				var results []<-chan result
				if err := th.Refuse(); err != nil {
					t.Errorf("with an empty queue: %v", err)
				}
				for range tt.taken {
					results = append(results, start(th, get(ctx, "/")))
				}
				synctest.Wait()
				if got := do(th, get(ctx, "/")); !errors.Is(got.err, knative.ErrOverloaded) {
					t.Errorf("request over the bound: %v, want ErrOverloaded", got.err)
				}
				if err := th.Refuse(); errors.Is(err, knative.ErrOverloaded) != (tt.replicas > 0) {
					t.Errorf("with a full queue and %d replicas: %v", tt.replicas, err)
				}
				rep := th.Report(time.Now())
				if rep.Queued != tt.wantQueue || rep.InFlight != tt.wantNow {
					t.Errorf("queued %d, in flight %d; want %d, %d", rep.Queued, rep.InFlight, tt.wantQueue, tt.wantNow)
				}
				cancel()
				for _, r := range results {
					if got := <-r; !errors.Is(got.err, context.Canceled) {
						t.Errorf("cancelled request: %v", got.err)
					}
				}
				if rep := th.Report(time.Now()); rep.Queued != 0 || rep.InFlight != 0 {
					t.Errorf("after the end: queued %d, in flight %d", rep.Queued, rep.InFlight)
				}
			})
		})
	}
}

func TestDefaultDepth(t *testing.T) {
	for cc, want := range map[int]int{0: 10_000, 1: 10, 7: 70} {
		if got := New(Options{ContainerConcurrency: cc}).o.QueueDepth; got != want {
			t.Errorf("concurrency %d: depth %d, want %d", cc, got, want)
		}
	}
}

func TestRequestsAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{ContainerConcurrency: 1, QueueDepth: 50, Transport: h})
		th.Add("a", "1:1")
		var results []<-chan result
		for i := range 30 {
			results = append(results, start(th, get(t.Context(), fmt.Sprint("/", i))))
			synctest.Wait() // it is in the queue before the next one comes
		}
		for i := range 30 {
			if got, want := <-h.arrived, fmt.Sprintf("/%d 1:1", i); got != want {
				t.Fatalf("request %d at the replica: %s, want %s", i, got, want)
			}
			// One more comes while others wait: it must not overtake them.
			results = append(results, start(th, get(t.Context(), "/late")))
			synctest.Wait()
			h.release <- nil
		}
		for range 30 {
			h.release <- nil
		}
		for _, r := range results {
			if got := <-r; got.err != nil {
				t.Error(got.err)
			}
		}
	})
}

func TestCancelWhileWaitingFreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{ContainerConcurrency: 1, QueueDepth: 2, Transport: h})
		th.Add("a", "1:1")
		first := start(th, get(t.Context(), "/first"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := start(th, get(ctx, "/gone"))
		synctest.Wait()
		stays := start(th, get(t.Context(), "/stays"))
		synctest.Wait()
		cancel()
		if got := <-gone; !errors.Is(got.err, context.Canceled) {
			t.Fatalf("cancelled: %v", got.err)
		}
		next := start(th, get(t.Context(), "/next"))
		synctest.Wait()
		for range 3 {
			h.release <- nil
		}
		for _, r := range []<-chan result{first, stays, next} {
			if got := <-r; got.err != nil {
				t.Error(got.err)
			}
		}
		for _, want := range []string{"/first 1:1", "/stays 1:1", "/next 1:1"} {
			if got := <-h.arrived; got != want {
				t.Errorf("at the replica: %s, want %s", got, want)
			}
		}
	})
}

func TestDeadlineWhileWaiting(t *testing.T) {
	tests := []struct {
		name     string
		timeout  time.Duration // the revision's
		deadline time.Duration // the client's; 0 none
		want     time.Duration
	}{
		{name: "client's", timeout: time.Minute, deadline: 3 * time.Second, want: 3 * time.Second},
		{name: "revision's", timeout: 2 * time.Second, want: 2 * time.Second},
		{name: "revision's is earlier", timeout: 2 * time.Second, deadline: time.Minute, want: 2 * time.Second},
		{name: "default", want: 300 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				th := New(Options{Timeout: tt.timeout, Transport: newHeld()})
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				from := time.Now()
				got := do(th, get(ctx, "/"))
				if !errors.Is(got.err, context.DeadlineExceeded) {
					t.Errorf("error %v, want a deadline", got.err)
				}
				if d := time.Since(from); d != tt.want {
					t.Errorf("after %v, want %v", d, tt.want)
				}
			})
		})
	}
}

func TestTimeoutEndsAtTheFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent context.Context
		answered := func(r *http.Request) (*http.Response, error) {
			sent = r.Context()
			return answer("slow body"), nil
		}
		th := New(Options{Timeout: time.Second, Transport: transportFunc(answered)})
		th.Add("a", "1:1")
		resp, err := th.RoundTrip(get(t.Context(), "/"))
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if err := sent.Err(); err != nil {
			t.Errorf("while the body is read: %v", err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if sent.Err() == nil {
			t.Error("the exchange goes on after the body was closed")
		}

		slow := transportFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		th = New(Options{Timeout: time.Second, Transport: slow})
		th.Add("a", "1:1")
		if got := do(th, get(t.Context(), "/")); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("silent replica: %v, want a deadline", got.err)
		}
	})
}
