package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/networking/pkg/apis/networking"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	servingnet "knative.dev/serving/pkg/networking"

	"weir.dev/weir/knative"
)

// TestRoundTrip sends requests to a replica and, while there is none, to the activator.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := func(status int, text string) { http.Error(w, text, status) }
		switch r.URL.Path {
		case "/full":
			plain(http.StatusServiceUnavailable, "pending request queue full")
		case "/late":
			plain(http.StatusGatewayTimeout, "activator request timeout")
		case "/down":
			plain(http.StatusBadGateway, "dial tcp 127.0.0.1:8080: connect: connection refused")
		case "/off":
			plain(http.StatusServiceUnavailable, "no healthy upstream")
		case "/own":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/lost":
			panic(http.ErrAbortHandler)
		case "/slow":
			_, _ = io.Copy(io.Discard, r.Body) // else it is not seen that the client left
			<-r.Context().Done()
		default:
			body, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s/%s %s %s", r.Proto, r.Header.Get("Knative-Serving-Namespace"), r.Header.Get("Knative-Serving-Revision"), r.Host, body)
		}
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	at := srv.Listener.Addr().String()
	w := newWorld(t, io.Discard, nil)
	for _, name := range []string{"half-1", "cold-1", "h2-1", "none-1"} {
		model, _, _ := strings.Cut(name, "-")
		w.deploy(t, model, name)
	}
	w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http", "10.0.0.1:8012")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, networking.ServicePortNameHTTP1, at)
	w.endpoints(t, "cold-1", servingnet.ServiceTypePublic, networking.ServicePortNameHTTP1, at)
	w.endpoints(t, "h2-1", servingnet.ServiceTypePrivate, "http", "10.0.0.1:8012")
	w.endpoints(t, "h2-1", servingnet.ServiceTypePublic, networking.ServicePortNameH2C, at)
	w.endpoints(t, "none-1", servingnet.ServiceTypePrivate, "http", "10.0.0.1:8012")
	w.ready(t, "half", 1)
	w.ready(t, "cold", 0)
	w.ready(t, "h2", 1)
	for _, tt := range []struct {
		name, revision, path, want, cold string
		is                               error
	}{
		{name: "replica", revision: "half-1", path: "/x", want: "HTTP/1.1 models/half-1 router.example.com hello"},
		{name: "activator", revision: "cold-1", path: "/x", want: "HTTP/1.1 models/cold-1 router.example.com hello", cold: "true"},
		{name: "activator, again", revision: "cold-1", path: "/x", want: "HTTP/1.1 models/cold-1 router.example.com hello"},
		{name: "HTTP/2", revision: "h2-1", path: "/x", want: "HTTP/2.0 models/h2-1 router.example.com hello"},
		{name: "unknown", revision: "other", is: knative.ErrNoRevision},
		{name: "no address", revision: "none-1", is: knative.ErrNotReady},
		{name: "queue full", revision: "half-1", path: "/full", is: knative.ErrOverloaded},
		{name: "activator's deadline", revision: "half-1", path: "/late", is: context.DeadlineExceeded},
		{name: "function gone", revision: "half-1", path: "/down", is: knative.ErrLost},
		{name: "no backend", revision: "half-1", path: "/off", is: knative.ErrNotReady},
		{name: "the function's own 503", revision: "half-1", path: "/own"},
		{name: "lost", revision: "half-1", path: "/lost", is: knative.ErrLost},
		{name: "deadline", revision: "half-1", path: "/slow", is: context.DeadlineExceeded},
	} {
		limit := 20 * time.Second
		if tt.path == "/slow" {
			limit = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		res, text, err := post(ctx, w, tt.revision, tt.path, strings.NewReader("hello"))
		if !errors.Is(err, tt.is) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.is)
		}
		if err == nil && (text != tt.want || res.Header.Get(knative.HeaderColdStart) != tt.cold) {
			t.Errorf("%s: %q, cold %q", tt.name, text, res.Header.Get(knative.HeaderColdStart))
		}
		cancel()
	}
	all, err := w.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		for _, r := range s.Revisions {
			if r.Concurrency != 0 || r.Queue != 0 {
				t.Errorf("requests are done, but %s says %+v", s.Name, r)
			}
		}
	}
}

// TestAPlaceThatIsGone is tried, cannot be connected to, and another one takes the request with its whole body.
func TestAPlaceThatIsGone(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	t.Cleanup(srv.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := ln.Addr().String()
	_ = ln.Close()
	w := newWorld(t, io.Discard, nil)
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, "http", gone, srv.Listener.Addr().String())
	w.ready(t, "half", 0)
	for range 50 {
		if _, text, err := post(t.Context(), w, "half-1", "/", strings.NewReader("all of it")); err != nil || text != "all of it" {
			t.Fatalf("%q, %v", text, err)
		}
	}
}

// TestColdAgain says a cold start each time that the replicas were gone.
func TestColdAgain(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	at := srv.Listener.Addr().String()
	w := newWorld(t, io.Discard, nil)
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, "http", at)
	w.ready(t, "half", 0)
	for round := range 2 {
		for _, want := range []string{"true", ""} {
			res, _, err := post(t.Context(), w, "half-1", "/", nil)
			if err != nil || res.Header.Get(knative.HeaderColdStart) != want {
				t.Errorf("round %d: cold %q, want %q (%v)", round, res.Header.Get(knative.HeaderColdStart), want, err)
			}
		}
		w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http", at)
		w.ready(t, "half", 1)
		w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http")
		w.ready(t, "half", 0)
	}
}

// TestCalls sends gRPC over HTTP/2 whatever the port is named, and goes on reading a body after the answer has begun.
func TestCalls(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.WriteString(w, r.Proto+"\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(w, r.Body)
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	w := newWorld(t, io.Discard, nil)
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, networking.ServicePortNameHTTP1, srv.Listener.Addr().String())
	w.ready(t, "half", 0)
	for contentType, proto := range map[string]string{"application/grpc+proto": "HTTP/2.0\n", "application/json": "HTTP/1.1\n"} {
		body, sent := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://half-1/", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		res, err := w.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(sent, "later"); err != nil {
			t.Errorf("%s: %v", contentType, err)
		}
		_ = sent.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || string(text) != proto+"later" {
			t.Errorf("%s: %q, %v", contentType, text, err)
		}
		_ = res.Body.Close()
	}
}

// TestNeverReady refuses at once, and says why, what would wait in vain for a revision that failed before it was ever
// ready; one that starts is waited for until the deadline.
func TestNeverReady(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(srv.Close)
	w := newWorld(t, io.Discard, nil)
	for name, reason := range map[string]string{"bad-1": "ExitCode1", "slow-1": "", "new-1": ""} {
		model, _, _ := strings.Cut(name, "-")
		rev := &servingv1.Revision{ObjectMeta: labelled(name)}
		if reason != "" {
			rev.Status.Conditions = duckv1.Conditions{{Type: servingv1.RevisionConditionContainerHealthy, Status: corev1.ConditionFalse, Reason: reason, Message: "no luck"}}
		}
		svc := &servingv1.Service{ObjectMeta: labelled(model)}
		svc.Spec.Template.Name = name
		for _, obj := range []runtime.Object{svc, rev} {
			if err := w.serving.Tracker().Add(obj); err != nil {
				t.Fatal(err)
			}
		}
		if name != "new-1" {
			w.endpoints(t, name, servingnet.ServiceTypePublic, networking.ServicePortNameHTTP1, srv.Listener.Addr().String())
		}
	}
	w.await(t, "all three", func(all []knative.ServiceStatus) bool {
		return len(all) == 3 && len(all[0].Revisions)+len(all[1].Revisions)+len(all[2].Revisions) == 3
	})
	w.ready(t, "bad", 0)
	w.ready(t, "slow", 0)
	for name, want := range map[string]string{"bad-1": "revision bad-1 fails: ", "slow-1": "slow-1 is starting for the first time", "new-1": "new-1 is starting for the first time"} {
		limit := 20 * time.Second
		if name != "bad-1" {
			limit = 50 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, _, err := post(ctx, w, name, "/", nil)
		if never, ok := errors.AsType[*knative.NotReadyError](err); !ok || !errors.Is(err, knative.ErrNotReady) || !strings.Contains(never.Reason, want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		cancel()
	}
}
