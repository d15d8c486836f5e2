package throttle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/knative"
)

// TestChaos has callers that go away at replicas that come, drain, die and refuse. Every request must end as it may, and
// nothing may be held in the end.
func TestChaos(t *testing.T) {
	for _, cc := range []int{0, 1, 4} {
		t.Run(fmt.Sprint(cc), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				transport := transportFunc(func(r *http.Request) (*http.Response, error) {
					defer func() { _ = r.Body.Close() }()
					switch rand.IntN(20) {
					case 0:
						return nil, errRefused
					case 1:
						return nil, errReset
					}
					b, err := io.ReadAll(r.Body)
					if err != nil {
						return nil, err
					}
					select {
					case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
						return answer(string(b)), nil
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				})
				th := New(Options{ContainerConcurrency: cc, QueueDepth: 30, Transport: transport})
				var callers sync.WaitGroup
				answers := make(chan error, 40*60)
				for c := range 40 {
					callers.Go(func() {
						for i := range 60 {
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Millisecond)
							text := fmt.Sprint(c, "/", i)
							got := do(th, post(ctx, strings.NewReader(text)))
							if got.err == nil && got.text != text {
								t.Errorf("answer %q to %q", got.text, text)
							}
							answers <- got.err
							cancel()
							if got.err != nil {
								<-time.After(5 * time.Millisecond) // as Retry-After asks
							}
						}
					})
				}
				done := make(chan struct{})
				go func() { callers.Wait(); close(done) }()
				for running := true; running; {
					name := fmt.Sprint(rand.IntN(3))
					switch rand.IntN(6) {
					case 0:
						th.Lost(name)
					case 1:
						th.Remove(name)
					case 2:
						th.Report(time.Now())
					case 3:
						th.Fail(errors.New("no luck"))
					default:
						th.Add(name, name+":1")
					}
					select {
					case <-done:
						running = false
					case <-time.After(time.Millisecond):
					}
				}
				good := 0
				for range cap(answers) {
					err := <-answers
					if err == nil {
						good++
					} else if !errors.Is(err, knative.ErrLost) && !errors.Is(err, knative.ErrNotReady) &&
						!errors.Is(err, knative.ErrOverloaded) && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				}
				if good < cap(answers)/10 {
					t.Errorf("only %d of %d requests were answered", good, cap(answers))
				}
				for i := range 3 {
					<-th.Remove(fmt.Sprint(i))
				}
				th.Report(time.Now())
				<-time.After(time.Second)
				rep := th.Report(time.Now())
				if rep.InFlight != 0 || rep.Queued != 0 || rep.AverageConcurrency != 0 || rep.Executing != 0 || len(rep.PerReplica) != 0 {
					t.Errorf("in the end %+v", rep)
				}
			})
		})
	}
}
