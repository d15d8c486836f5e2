package throttle

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

var (
	errRefused = &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	errReset   = &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
)

// dying fails requests to some addresses after it read so much of the body, and answers the others with their body.
type dying struct {
	err  map[string]error
	read int64

	mu   sync.Mutex
	seen []string
}

func (d *dying) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.seen = append(d.seen, r.URL.Host)
	err := d.err[r.URL.Host]
	d.mu.Unlock()
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if err != nil {
		if r.Body != nil && d.read > 0 {
			if _, readErr := io.CopyN(io.Discard, r.Body, d.read); readErr != nil && !errors.Is(readErr, io.EOF) {
				return nil, readErr
			}
		}
		return nil, err
	}
	if r.Body == nil {
		return answer(""), nil
	}
	b, readErr := io.ReadAll(r.Body)
	if readErr != nil {
		return nil, readErr
	}
	return answer(string(b)), nil
}

func post(ctx context.Context, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://rev/v1/models/m:predict", body)
	if err != nil {
		panic(err)
	}
	r.GetBody = nil // as a server's request
	return r
}

func TestLostReplica(t *testing.T) {
	long := strings.Repeat("x", replayLimit+1)
	tests := []struct {
		name     string
		body     string
		read     int64
		err      map[string]error
		wantErr  error
		attempts int
	}{
		{name: "lost before the body was read", body: "hello", err: map[string]error{"1:1": errReset}, attempts: 2},
		{name: "lost halfway through the body", body: "hello", read: 3, err: map[string]error{"1:1": errReset}, attempts: 2},
		{name: "lost after the body", body: "hello", read: 5, err: map[string]error{"1:1": io.EOF}, attempts: 2},
		{name: "two lost", body: "hello", read: 4, err: map[string]error{"1:1": errReset, "2:2": io.EOF}, attempts: 3},
		{name: "all lost", body: "hello", read: 4, err: map[string]error{"1:1": errReset, "2:2": io.EOF, "3:3": io.EOF}, wantErr: knative.ErrLost, attempts: 3},
		{name: "refused, long body", body: long, err: map[string]error{"1:1": errRefused}, attempts: 2},
		{name: "lost halfway through a long body", body: long, read: replayLimit / 2, err: map[string]error{"1:1": errReset}, attempts: 2},
		{name: "lost after a long body", body: long, read: replayLimit + 1, err: map[string]error{"1:1": errReset}, wantErr: knative.ErrLost, attempts: 1},
		{name: "answers nonsense", body: "hello", err: map[string]error{"1:1": errors.New("malformed HTTP response")}, wantErr: knative.ErrLost, attempts: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dying{err: tt.err, read: tt.read}
				th := New(Options{ContainerConcurrency: 1, Transport: d})
				th.Add("a", "1:1")
				th.Add("b", "2:2")
				th.Add("c", "3:3")
				// The size is unknown: a body with a declared size over the limit is not kept at all.
				got := do(th, post(t.Context(), io.MultiReader(strings.NewReader(tt.body))))
				if !errors.Is(got.err, tt.wantErr) {
					t.Fatalf("error %v, want %v", got.err, tt.wantErr)
				}
				if tt.wantErr == nil && got.text != tt.body {
					t.Errorf("the second replica got %d bytes, want %d", len(got.text), len(tt.body))
				}
				if len(d.seen) != tt.attempts {
					t.Errorf("tried %v, want %d attempts", d.seen, tt.attempts)
				}
			})
		})
	}
}

func TestLongDeclaredBodyIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dying{err: map[string]error{"1:1": errReset}, read: 10}
		th := New(Options{ContainerConcurrency: 1, Transport: d})
		th.Add("a", "1:1")
		th.Add("b", "2:2")
		r := post(t.Context(), strings.NewReader(strings.Repeat("x", replayLimit+1)))
		if got := do(th, r); !errors.Is(got.err, knative.ErrLost) {
			t.Errorf("error %v, want ErrLost", got.err)
		}
		r = post(t.Context(), strings.NewReader(strings.Repeat("x", replayLimit+1)))
		r.GetBody = func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("again")), nil
		}
		if got := do(th, r); got.text != "again" {
			t.Errorf("with GetBody: %+v", got)
		}
	})
}

func TestTheOnlyReplicaIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dying{err: map[string]error{"1:1": errReset}}
		th := New(Options{ContainerConcurrency: 1, Transport: d})
		th.Add("a", "1:1")
		d.err["1:1"] = errRefused
		w := start(th, post(t.Context(), strings.NewReader("hello")))
		synctest.Wait() // it waits: the replica refused a connection
		if len(d.seen) != 1 {
			t.Errorf("tried %v", d.seen)
		}
		th.Lost("a")
		select {
		case <-th.Poke():
		default:
			t.Error("not poked for a request that waits for another replica")
		}
		th.Add("b", "2:2")
		if got := <-w; got.text != "hello" {
			t.Errorf("got %+v", got)
		}
	})
}

func TestALostRequestDoesNotQueueAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{ContainerConcurrency: 1, QueueDepth: 1, Transport: h})
		th.Add("a", "1:1")
		lost := start(th, get(t.Context(), "/lost"))
		synctest.Wait()
		waits := start(th, get(t.Context(), "/waits"))
		synctest.Wait()
		th.Lost("a")
		h.release <- errReset
		synctest.Wait() // the queue is full, and it has its place all the same: the first one
		th.Add("b", "2:2")
		for _, want := range []string{"/lost 1:1", "/lost 2:2", "/waits 2:2"} {
			if got := <-h.arrived; got != want {
				t.Errorf("at a replica: %s, want %s", got, want)
			}
			if want != "/lost 1:1" {
				h.release <- nil
			}
		}
		for _, r := range []<-chan result{lost, waits} {
			if got := <-r; got.err != nil {
				t.Error(got.err)
			}
		}
	})
}

func TestARefusalPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dying{err: map[string]error{"1:1": errRefused}}
		th := New(Options{Transport: d})
		th.Add("a", "1:1")
		w := start(th, get(t.Context(), "/"))
		synctest.Wait()
		d.mu.Lock()
		d.err = nil
		d.mu.Unlock()
		if got := <-w; got.err != nil || len(d.seen) != 2 {
			t.Errorf("got %+v after %v", got, d.seen)
		}
	})
}

func TestRetriesHaveABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dying{err: map[string]error{"1:1": errReset}}
		th := New(Options{Transport: d})
		th.Add("a", "1:1")
		const requests = 1000
		for range requests {
			if got := do(th, get(t.Context(), "/")); !errors.Is(got.err, knative.ErrLost) {
				t.Fatal(got.err)
			}
		}
		if got := len(d.seen); got != requests+maxRetryTokens {
			t.Errorf("%d attempts for %d requests, want %d more", got, requests, maxRetryTokens)
		}
		d.err = nil
		for range 100 {
			do(th, get(t.Context(), "/"))
		}
		if th.tokens < 9 {
			t.Errorf("%.1f tokens after 100 answers, want about 10", th.tokens)
		}
	})
}

func TestTheClientsFaultIsNotTheReplicas(t *testing.T) {
	t.Run("cancel", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHeld()
			th := New(Options{Transport: h})
			th.Add("a", "1:1")
			ctx, cancel := context.WithCancel(t.Context())
			w := start(th, get(ctx, "/"))
			synctest.Wait()
			cancel()
			if got := <-w; !errors.Is(got.err, context.Canceled) || errors.Is(got.err, knative.ErrLost) {
				t.Error(got.err)
			}
			if len(h.arrived) != 1 || th.tokens != maxRetryTokens {
				t.Errorf("%d attempts, %v tokens", len(h.arrived), th.tokens)
			}
		})
	})
	t.Run("body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &dying{}
			th := New(Options{Transport: d})
			th.Add("a", "1:1")
			tooLong := http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("hello")), 3)
			got := do(th, post(t.Context(), tooLong))
			var want *http.MaxBytesError
			if !errors.As(got.err, &want) || errors.Is(got.err, knative.ErrLost) || len(d.seen) != 1 {
				t.Errorf("error %v, attempts %v", got.err, d.seen)
			}
		})
	})
}

// TestKilledServer kills a real server's connections while it has requests, which then go to the other one.
func TestKilledServer(t *testing.T) {
	const n = 32
	arrived := make(chan struct{}, n)
	hang := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1000)
		arrived <- struct{}{}
		<-hang
	}))
	alive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	defer alive.Close()
	th := New(Options{ContainerConcurrency: n})
	defer th.Close()
	th.Add("dead", dead.Listener.Addr().String())
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	var results []<-chan result
	for range n {
		results = append(results, start(th, post(t.Context(), bytes.NewReader(body))))
	}
	for range n {
		soon.Next(t, "a request", arrived)
	}
	_ = dead.Listener.Close()
	dead.CloseClientConnections()
	th.Add("alive", alive.Listener.Addr().String())
	th.Lost("dead")
	for _, r := range results {
		if got := soon.Next(t, "its answer", r); got.err != nil || got.text != string(body) {
			t.Errorf("%d bytes, error %v", len(got.text), got.err)
		}
	}
	close(hang)
	dead.Close()
}
