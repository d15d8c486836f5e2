package throttle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

func TestColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := New(Options{Revision: "imagenet-00001", Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
			resp := answer("ok")
			resp.Header.Set("Server-Timing", "model;dur=3")
			resp.Header.Set(knative.HeaderColdStart, "true") // a replica does not know
			return resp, nil
		})})
		var waiting []<-chan result
		for range 3 {
			waiting = append(waiting, start(th, get(t.Context(), "/")))
		}
		synctest.Wait()
		select {
		case <-th.Poke():
		default:
			t.Error("not poked")
		}
		<-time.After(1500 * time.Millisecond)
		th.Add("a", "1:1")
		for _, w := range waiting {
			got := <-w
			if got.err != nil {
				t.Fatal(got.err)
			}
			if got.header.Get(knative.HeaderColdStart) != "true" || got.header.Get(knative.HeaderRevision) != "imagenet-00001" {
				t.Errorf("header %v", got.header)
			}
			if st := got.header.Values("Server-Timing"); len(st) != 2 || st[0] != "model;dur=3" || st[1] != "queue;dur=1500.000" {
				t.Errorf("Server-Timing %q", st)
			}
		}
		got := do(th, get(t.Context(), "/"))
		if _, cold := got.header[knative.HeaderColdStart]; cold || got.header.Values("Server-Timing")[1] != "queue;dur=0.000" {
			t.Errorf("warm request: header %v", got.header)
		}
		select {
		case <-th.Poke():
			t.Error("poked by a warm request")
		default:
		}
	})
}

func TestFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{Transport: h})
		reason := errors.New("exit status 3: no such model")
		w := start(th, get(t.Context(), "/"))
		synctest.Wait()
		th.Fail(reason)
		for name, got := range map[string]result{"waiting": <-w, "new": do(th, get(t.Context(), "/"))} {
			if !errors.Is(got.err, knative.ErrNotReady) || !errors.Is(got.err, reason) {
				t.Errorf("%s request: %v", name, got.err)
			}
		}
		th.Fail(nil)
		w = start(th, get(t.Context(), "/"))
		synctest.Wait()
		select {
		case got := <-w:
			t.Fatalf("after clear: %+v, want it to wait", got)
		default:
		}
		th.Fail(reason)
		<-w
		th.Add("a", "1:1") // proves otherwise
		w = start(th, get(t.Context(), "/"))
		h.release <- nil
		if got := <-w; got.err != nil {
			t.Errorf("after Add: %v", got.err)
		}
		<-th.Remove("a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := do(th, get(ctx, "/")); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("after Add and Remove: %v, want it to wait", got.err)
		}
		th.Add("a", "1:1")
		// A reason that is given while there is a replica counts from when there is none.
		th.Fail(reason)
		<-th.Remove("a")
		if got := do(th, get(t.Context(), "/")); !errors.Is(got.err, knative.ErrNotReady) {
			t.Errorf("after Remove: %v", got.err)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{Transport: h})
		th.Add("a", "1:1")
		w := start(th, get(t.Context(), "/"))
		synctest.Wait()
		drained := th.Remove("a")
		th.Add("b", "2:2")
		next := start(th, get(t.Context(), "/"))
		synctest.Wait()
		<-h.arrived
		if got := <-h.arrived; got != "/ 2:2" {
			t.Errorf("new request went to %s", got)
		}
		select {
		case <-drained:
			t.Fatal("drained with a request in flight")
		default:
		}
		if again := th.Remove("a"); again != drained {
			t.Error("a second Remove gives another channel")
		}
		h.release <- nil
		h.release <- nil
		<-w
		<-next
		<-drained
		<-th.Remove("a")
		<-th.Remove("never there")
		<-th.Remove("b")
	})
}

func TestDrainLasts(t *testing.T) {
	th := New(Options{Transport: transportFunc(func(*http.Request) (*http.Response, error) { return answer("x"), nil })})
	th.Add("a", "1:1")
	resp, err := th.RoundTrip(get(t.Context(), "/"))
	if err != nil {
		t.Fatal(err)
	}
	drained := th.Remove("a")
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	select {
	case <-drained:
		t.Fatal("drained before the answer's body was closed")
	default:
	}
	_ = resp.Body.Close()
	soon.Next(t, "the drain's end", drained)
	_ = resp.Body.Close() // the second one changes nothing
	if rep := th.Report(time.Now()); rep.InFlight != 0 || rep.Finished != 1 {
		t.Errorf("report %+v", rep)
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := New(Options{Transport: newHeld()})
		w := start(th, get(t.Context(), "/"))
		synctest.Wait()
		th.Close()
		for _, got := range []result{<-w, do(th, get(t.Context(), "/"))} {
			if !errors.Is(got.err, knative.ErrNotReady) {
				t.Errorf("after Close: %v", got.err)
			}
		}
		th.Add("late", "1:1")
		th.Fail(nil)
		if got := do(th, get(t.Context(), "/")); !errors.Is(got.err, knative.ErrNotReady) {
			t.Errorf("after Close and Add: %v", got.err)
		}
	})
}

// TestConcurrencyIsNeverExceeded has 64 callers at replicas that come and go.
func TestConcurrencyIsNeverExceeded(t *testing.T) {
	for _, cc := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(cc), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const names = 4
				var busy [names]atomic.Int64
				var most atomic.Int64
				transport := transportFunc(func(r *http.Request) (*http.Response, error) {
					b := &busy[r.URL.Host[0]-'0']
					n := b.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					<-time.After(time.Duration(rand.IntN(3)) * time.Millisecond)
					resp := answer("")
					resp.Body = closer(func() { b.Add(-1) })
					return resp, nil
				})
				th := New(Options{ContainerConcurrency: cc, QueueDepth: 64, Transport: transport})
				var callers sync.WaitGroup
				for range 64 {
					callers.Go(func() {
						for range 50 {
							if got := do(th, get(t.Context(), "/")); got.err != nil {
								t.Error(got.err)
							}
						}
					})
				}
				stop := make(chan struct{})
				var scaler sync.WaitGroup
				scaler.Go(func() {
					on := [names]bool{}
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						case <-time.After(time.Millisecond):
						}
						k := rand.IntN(names)
						name := fmt.Sprint(k)
						if on[k] {
							// Its places are only free for a replica of the same address when it is drained.
							drained := th.Remove(name)
							<-drained
						} else {
							th.Add(name, name+":1")
						}
						on[k] = !on[k]
					}
				})
				callers.Wait()
				close(stop)
				scaler.Wait()
				if got := most.Load(); got != int64(cc) {
					t.Errorf("at most %d at a replica, want %d", got, cc)
				}
				if rep := th.Report(time.Now()); rep.InFlight != 0 || rep.Queued != 0 || rep.Finished != 64*50 {
					t.Errorf("in the end %+v", rep)
				}
			})
		})
	}
}

// closer is an empty body.
type closer func()

func (closer) Read([]byte) (int, error) { return 0, io.EOF }
func (c closer) Close() error           { c(); return nil }

func TestChoiceOfReplica(t *testing.T) {
	tests := []struct {
		name string
		cc   int
		want []string // where requests go that stay there
	}{
		{name: "first available", cc: 2, want: []string{"1:1", "1:1", "2:2", "2:2", "3:3", "3:3"}},
		{name: "round robin", cc: 4, want: []string{"1:1", "2:2", "3:3", "1:1", "2:2", "3:3"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHeld()
				th := New(Options{ContainerConcurrency: tt.cc, Transport: h})
				for i := range 3 {
					th.Add(fmt.Sprint("r", i+1), fmt.Sprintf("%d:%d", i+1, i+1))
				}
				var results []<-chan result
				for i, want := range tt.want {
					results = append(results, start(th, get(t.Context(), "/")))
					if got := <-h.arrived; got != "/ "+want {
						t.Errorf("request %d went to %s, want %s", i, got, want)
					}
				}
				for range tt.want {
					h.release <- nil
				}
				for _, r := range results {
					<-r
				}
			})
		})
	}
	t.Run("less busy of two", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHeld()
			th := New(Options{Transport: h})
			th.Add("r1", "1:1")
			th.Add("r2", "2:2")
			var results []<-chan result
			for range 20 {
				results = append(results, start(th, get(t.Context(), "/")))
				synctest.Wait()
			}
			at := map[string]int{}
			for range 20 {
				at[<-h.arrived]++
				h.release <- nil
			}
			for _, r := range results {
				<-r
			}
			if at["/ 1:1"] != 10 || at["/ 2:2"] != 10 {
				t.Errorf("with two replicas the load is %v, want 10 each", at)
			}
		})
	})
}
