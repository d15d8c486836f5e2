package attack

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/scenario"
)

// shots collects what a generator did.
type shots struct {
	mu  sync.Mutex
	all []Shot
}

func (s *shots) add(x Shot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, x)
}

func generator(t testing.TB, l scenario.Load, url string) (*Generator, *shots) {
	t.Helper()
	if l.Target.Timeout == 0 {
		l.Target.Timeout = 5 * time.Second
	}
	got := &shots{}
	g, err := New(l, Options{URL: url, Done: got.add, Grace: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return g, got
}

func open(rate float64, d time.Duration) scenario.Stage {
	return scenario.Stage{Name: "open", Duration: d, Arrivals: &scenario.Arrivals{From: rate, To: rate}}
}

func closed(n int, d, think time.Duration) scenario.Stage {
	return scenario.Stage{Name: "closed", Duration: d, Users: &scenario.Users{From: n, To: n, Think: think, ThinkMost: think}}
}

func TestEveryRequestIsTold(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	bodies := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies[string(body)+" "+r.Header.Get("Content-Type")]++
		w.Header().Set(knative.HeaderRevision, "m-00001")
		if string(body) == "b" {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"error": "40 requests wait at 127.0.0.1"}`)
			return
		}
		w.Header().Set(knative.HeaderColdStart, "true")
	}))
	defer srv.Close()
	l := scenario.Load{
		Name: "m", Inputs: []scenario.Input{{Body: []byte("a"), ContentType: "text/a"}, {Body: []byte("b"), ContentType: "text/b"}},
		Stages: []scenario.Stage{closed(3, 200*time.Millisecond, 10*time.Millisecond), open(100, 500*time.Millisecond)},
	}
	g, got := generator(t, l, srv.URL)
	g.Run(t.Context())
	if s := g.State(); s.Users != 0 || int(s.Sent) != len(got.all) || s.Stage != "" {
		t.Errorf("after the run: %+v, %d told", s, len(got.all))
	}
	opened, refused := 0, 0
	for _, s := range got.all {
		if s.Revision != "m-00001" || s.Load != "m" || s.Latency <= 0 || s.Sent.Before(s.Due) {
			t.Fatalf("shot %+v", s)
		}
		if !s.Closed {
			opened++
		}
		switch {
		case s.Refused():
			refused++
			if s.Message != "N requests wait at N.N" || !s.RetryAfter || s.Cold {
				t.Fatalf("refusal %+v", s)
			}
		case !s.OK() || !s.Cold:
			t.Fatalf("answer %+v", s)
		}
	}
	if opened != 50 {
		t.Errorf("%d arrivals in half a second at 100/s, want 50", opened)
	}
	if a, b := bodies["a text/a"], bodies["b text/b"]; a-b > 1 || b-a > 1 || a+b != len(got.all) || b != refused {
		t.Errorf("bodies %v of %d requests, %d refused: want both in turn", bodies, len(got.all), refused)
	}
}

// TestAStalledTargetDelaysNoArrival: arrivals go on while none is answered, and none is sent late.
func TestAStalledTargetDelaysNoArrival(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	release := sync.OnceFunc(func() { close(answer) })
	arrived := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-answer
	}))
	defer srv.Close()
	defer release()
	g, got := generator(t, scenario.Load{Name: "m", Stages: []scenario.Stage{open(100, 300*time.Millisecond)}}, srv.URL)
	done := make(chan struct{})
	go func() { defer close(done); g.Run(t.Context()) }()
	for range 30 {
		soon.Next(t, "a request", arrived) // all 30 arrive before any is answered
	}
	release()
	soon.Next(t, "the end of the run", done)
	if len(got.all) != 30 {
		t.Errorf("%d requests, want 30", len(got.all))
	}
}

// TestUsersWhoComeAtOnce start a few at a time, so that the sender reads answers meanwhile.
func TestUsersWhoComeAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, _ := generator(t, scenario.Load{Name: "m", Stages: []scenario.Stage{closed(10*together, time.Second, time.Hour)}}, "http://127.0.0.1:1")
		began := time.Now()
		var mu sync.Mutex
		came := map[time.Duration]int{}
		g.client.Transport = transport(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			came[time.Since(began)]++
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		g.Run(t.Context())
		for i := range 10 {
			if n := came[time.Duration(i)*breath]; n != together {
				t.Errorf("%d users came after %d ms, want %d", n, i, together)
			}
		}
	})
}

// transport is a function as an http.RoundTripper.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheEndOfARun(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // it never answers
	}))
	defer srv.Close()
	for _, stage := range []scenario.Stage{closed(2, time.Hour, time.Hour), open(10, time.Hour)} {
		g, got := generator(t, scenario.Load{Name: "m", Stages: []scenario.Stage{stage}}, srv.URL)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		soon.Next(t, "a request", entered)
		soon.Next(t, "a second one", entered)
		cancel()
		soon.Next(t, "the end of the run", done) // within the grace
		if len(got.all) < 2 || got.all[0].Status != 0 || !strings.Contains(got.all[0].Message, "cancel") {
			t.Errorf("%s: %+v; want requests that were cut off", stage.Name, got.all)
		}
	}
}

// await waits until f says so.
func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); !f(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("never: " + what)
		}
	}
}

func TestChangesWhileItRuns(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	users, _ := generator(t, scenario.Load{Name: "u", Stages: []scenario.Stage{closed(1, time.Hour, time.Millisecond)}}, srv.URL)
	rate, _ := generator(t, scenario.Load{Name: "r", Stages: []scenario.Stage{open(0, time.Hour)}}, srv.URL)
	var wg sync.WaitGroup
	wg.Go(func() { users.Run(ctx) })
	wg.Go(func() { rate.Run(ctx) })
	await(t, "a user", func() bool { return users.State().Users == 1 })
	users.Set(5, 0)
	await(t, "five users", func() bool { return users.State().Users == 5 })
	users.Set(0, 0)
	await(t, "no user", func() bool { return users.State().Users == 0 })
	await(t, "the open stage", func() bool { return rate.State().Stage == "open" })
	if s := rate.State(); s.Sent != 0 || s.Rate != 0 {
		t.Errorf("at no rate: %+v", s)
	}
	rate.Set(0, 500)
	await(t, "requests at a rate that was set", func() bool { return rate.State().Sent > 50 })
	rate.Set(0, 0)
	if s := rate.State(); s.Rate != 0 {
		t.Errorf("set to nothing: %+v", s)
	}
	cancel()
	wg.Wait()
}

// TestAChangeHoldsInLaterStages: of the same kind; the other kind goes by the scenario.
func TestAChangeHoldsInLaterStages(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	// begin runs stages, the last of which does not end, and returns what ends the run.
	begin := func(t *testing.T, stages ...scenario.Stage) (g *Generator, got *shots, end func()) {
		for i := range stages {
			stages[i].Name = []string{"first", "second", "last"}[i]
		}
		g, got = generator(t, scenario.Load{Name: "m", Stages: stages}, srv.URL)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.Run(ctx) }()
		await(t, "the first stage", func() bool { return g.State().Stage == "first" })
		return g, got, func() {
			cancel()
			soon.Next(t, "the end of the run", done)
		}
	}
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		g, got, end := begin(t, closed(1, 2*time.Second, time.Millisecond), open(0, 100*time.Millisecond), closed(1, time.Hour, time.Millisecond))
		g.Set(4, 0)
		await(t, "four users in the last stage", func() bool { s := g.State(); return s.Stage == "last" && s.Users == 4 && s.Held })
		end()
		for _, s := range got.all {
			if s.Stage == "second" {
				t.Fatalf("%+v: users were set, not arrivals", s)
			}
		}
	})
	t.Run("users, and then arrivals", func(t *testing.T) {
		t.Parallel()
		g, _, end := begin(t, closed(1, 2*time.Second, time.Millisecond), open(0, time.Hour))
		g.Set(4, 0)
		await(t, "the second stage", func() bool { return g.State().Stage == "second" })
		if s := g.State(); s.Rate != 0 || s.Held {
			t.Errorf("a stage of arrivals after users were set: %+v", s)
		}
		end()
	})
	t.Run("arrivals", func(t *testing.T) {
		t.Parallel()
		g, got, end := begin(t, open(0, 2*time.Second), closed(1, 100*time.Millisecond, time.Millisecond), open(0, time.Hour))
		g.Set(0, 200)
		await(t, "the last stage", func() bool { return g.State().Stage == "last" })
		sent := g.State().Sent
		await(t, "arrivals", func() bool { s := g.State(); return s.Sent > sent+20 && s.Rate == 200 && s.Held })
		end()
		for _, s := range got.all {
			if s.Stage == "last" && s.Sent.Sub(s.Due) > 5*time.Second {
				t.Fatalf("%+v: it was due long ago", s)
			}
		}
	})
}

func TestWhereLoadMayGo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		url, at string
		allowed []string
		ok      bool
	}{
		{"http://127.0.0.1:8080/", "", nil, true},
		{"http://[::1]:8080/", "", nil, true},
		{"http://localhost:8080/", "", nil, true},
		{"http://192.0.2.1/", "", nil, false},
		{"http://10.1.2.3:80/", "", []string{"10.1.2.4"}, false},
		{"http://10.1.2.3:80/", "", []string{"10.1.2.3"}, true},
		{"http://[::ffff:192.0.2.1]/", "", nil, false},
		{"http://router.example.invalid/", "127.0.0.1:80", nil, true},
		{"http://router.example.invalid/", "192.0.2.1:80", []string{"router.example.invalid"}, false},
		{"http://router.example.invalid/", "192.0.2.1:80", []string{"192.0.2.1"}, true},
	} {
		g := Guard{Allowed: tt.allowed}
		err := g.Check(t.Context(), tt.url, tt.at)
		if (err == nil) != tt.ok {
			t.Errorf("%s, allowed %v: %v", tt.url, tt.allowed, err)
		}
		if tt.ok {
			continue
		}
		if !strings.Contains(err.Error(), "--allow-host") {
			t.Errorf("%v: it does not say what to do", err)
		}
		// Whatever was checked before: what is dialled is checked again.
		client, err := g.client(tt.url, tt.at, false)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Get(tt.url)
		if _, refused := errors.AsType[*NotAllowedError](err); !refused {
			t.Errorf("dialling %s: %v, want a refusal", tt.url, err)
		}
	}
}

// TestWhereAClusterTakesRequests asks for the router's host name, which leads nowhere, at the ingress's address.
func TestWhereAClusterTakesRequests(t *testing.T) {
	t.Parallel()
	hosts := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hosts <- r.Host }))
	defer srv.Close()
	const router = "router.default.example.invalid"
	client, err := Guard{Allowed: []string{router}}.client("http://"+router+"/", srv.Listener.Addr().String(), false)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get("http://" + router + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if host := soon.Next(t, "a request", hosts); host != router {
		t.Errorf("the ingress was asked for %s, want %s", host, router)
	}
}

// TestNoRedirectIsFollowed: an answer cannot send the load elsewhere.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusFound))
	defer srv.Close()
	for _, stage := range []scenario.Stage{closed(1, 50*time.Millisecond, 20*time.Millisecond), open(50, 100*time.Millisecond)} {
		g, got := generator(t, scenario.Load{Name: "m", Stages: []scenario.Stage{stage}}, srv.URL)
		g.Run(t.Context())
		for _, s := range got.all {
			if s.Status != http.StatusFound {
				t.Errorf("%s: %+v, want the 302 itself", stage.Name, s)
			}
		}
	}
}
