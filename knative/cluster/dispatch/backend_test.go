package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	kubefake "k8s.io/client-go/kubernetes/fake"
	discovery "k8s.io/client-go/kubernetes/typed/discovery/v1"
	clienttesting "k8s.io/client-go/testing"
	"knative.dev/networking/pkg/apis/networking"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	servingfake "knative.dev/serving/pkg/client/clientset/versioned/fake"
	servingnet "knative.dev/serving/pkg/networking"

	"github.com/rs/zerolog"

	"weir.dev/weir/knative"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster that clientsets fake, and a Backend that watches it.
type world struct {
	*Backend
	serving *servingfake.Clientset
	kube    *kubefake.Clientset
}

// fakeDiscovery says, as fake clientsets do, that it cannot list by watching.
type fakeDiscovery struct{ discovery.DiscoveryV1Interface }

func (fakeDiscovery) IsWatchListSemanticsUnSupported() bool { return true }

func newWorld(t *testing.T, log io.Writer, prepare func(w world)) world {
	t.Helper()
	w := world{serving: servingfake.NewSimpleClientset(), kube: kubefake.NewClientset()}
	if prepare != nil {
		prepare(w)
	}
	// What is made between a list and its watch is lost on a fake, so nothing is made before.
	watching := make(chan struct{}, 10)
	watched := func(tracker clienttesting.ObjectTracker) clienttesting.WatchReactionFunc {
		return func(a clienttesting.Action) (bool, watch.Interface, error) {
			begun, err := tracker.Watch(a.GetResource(), a.GetNamespace())
			watching <- struct{}{}
			return true, begun, err
		}
	}
	w.serving.PrependWatchReactor("*", watched(w.serving.Tracker()))
	w.kube.PrependWatchReactor("*", watched(w.kube.Tracker()))
	var err error
	w.Backend, err = New(Options{Serving: w.serving, Discovery: fakeDiscovery{w.kube.DiscoveryV1()}, Namespace: "models", Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	for range 3 {
		if prepare == nil {
			<-watching
		}
	}
	return w
}

func labelled(name string) metav1.ObjectMeta {
	model, _, _ := strings.Cut(name, "-")
	return metav1.ObjectMeta{Name: name, Namespace: "models", Labels: map[string]string{knative.LabelModel: model, serving.ServiceLabelKey: model}}
}

// deploy makes a Service with one revision that has all its traffic.
func (w world) deploy(t *testing.T, model, revision string) {
	t.Helper()
	svc, all := &servingv1.Service{ObjectMeta: labelled(model)}, int64(100)
	svc.Status.Traffic = []servingv1.TrafficTarget{{RevisionName: revision, Percent: &all, Tag: "stable"}}
	for _, obj := range []runtime.Object{svc, &servingv1.Revision{ObjectMeta: labelled(revision)}} {
		if err := w.serving.Tracker().Add(obj); err != nil {
			t.Fatal(err)
		}
	}
}

// endpoints makes or changes an endpoint slice of a revision, as Knative and Kubernetes do.
func (w world) endpoints(t *testing.T, revision string, kind servingnet.ServiceType, port string, addresses ...string) {
	t.Helper()
	meta := labelled(revision + "-" + strings.ToLower(string(kind)))
	meta.Labels[serving.RevisionLabelKey], meta.Labels[servingnet.ServiceTypeKey] = revision, string(kind)
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta}
	https, no := int32(8112), false
	httpsName := networking.ServicePortNameHTTPS
	s.Ports = []discoveryv1.EndpointPort{{Name: &httpsName, Port: &https}}
	for _, a := range addresses {
		host, number, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.ParseInt(number, 10, 32)
		number32 := int32(n)
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &port, Port: &number32})
		s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{host}}, {Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}}}
	}
	slices := w.kube.DiscoveryV1().EndpointSlices("models")
	if _, err := slices.Get(t.Context(), s.Name, metav1.GetOptions{}); err == nil {
		_, err = slices.Update(t.Context(), s, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	} else if _, err := slices.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// await waits for a state, from change to change.
func (w world) await(t *testing.T, what string, cond func([]knative.ServiceStatus) bool) []knative.ServiceStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		changed := w.Changed()
		all, err := w.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if cond(all) {
			return all
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not seen: %s; it is %+v", what, all)
		}
	}
}

func (w world) ready(t *testing.T, model string, n int) []knative.ServiceStatus {
	t.Helper()
	return w.await(t, fmt.Sprintf("%s has %d replicas", model, n), func(all []knative.ServiceStatus) bool {
		for _, s := range all {
			if s.Name == model && len(s.Revisions) > 0 && s.Revisions[0].Ready == n {
				w.mu.RLock()
				defer w.mu.RUnlock()
				t := w.targets[s.Revisions[0].Name]
				return t != nil && len(t.places) > 0
			}
		}
		return false
	})
}

func post(ctx context.Context, w world, revision, path string, body io.Reader) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+revision+path, body)
	if err != nil {
		return nil, "", err
	}
	r.Host = "router.example.com"
	res, err := w.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

// TestWatch sees a model that is added, its replicas and its end, without a restart. What is no model is left alone.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, io.Discard, nil)
	if all, err := w.Status(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("%+v, %v", all, err)
	}
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http", "10.0.0.1:8012")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, "http", "10.0.0.1:8012")
	r := w.ready(t, "half", 1)[0].Revisions[0]
	if r.Name != "half-1" || r.Percent != 100 || r.State != knative.StateReady || len(r.Tags) != 1 {
		t.Errorf("%+v", r)
	}
	if err := w.serving.Tracker().Delete(servingv1.SchemeGroupVersion.WithResource("services"), "models", "half"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "half is gone", func(all []knative.ServiceStatus) bool { return len(all) == 0 })
	for _, s := range []string{"half-1-private", "half-1-public"} {
		if err := w.kube.DiscoveryV1().EndpointSlices("models").Delete(t.Context(), s, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	w.await(t, "half-1 answers nowhere", func([]knative.ServiceStatus) bool {
		_, _, err := post(t.Context(), w, "half-1", "/", nil)
		return errors.Is(err, knative.ErrNoRevision)
	})
}

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

// TestLoad counts what is under way, and keeps the count when the addresses change.
func TestLoad(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-finish }))
	t.Cleanup(srv.Close)
	at := srv.Listener.Addr().String()
	w := newWorld(t, io.Discard, nil)
	w.deploy(t, "half", "half-1")
	w.endpoints(t, "half-1", servingnet.ServiceTypePublic, "http", at)
	w.ready(t, "half", 0)
	done := make(chan error, 1)
	go func() { _, _, err := post(t.Context(), w, "half-1", "/", nil); done <- err }()
	<-arrived
	if r := w.ready(t, "half", 0)[0].Revisions[0]; r.Queue != 1 || r.Concurrency != 0 {
		t.Errorf("waiting at the activator: %+v", r)
	}
	w.endpoints(t, "half-1", servingnet.ServiceTypePrivate, "http", at)
	if r := w.ready(t, "half", 1)[0].Revisions[0]; r.Queue != 0 || r.Concurrency != 1 {
		t.Errorf("at a replica: %+v", r)
	}
	close(finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if r := w.ready(t, "half", 1)[0].Revisions[0]; r.Concurrency != 0 {
		t.Errorf("after the answer: %+v", r)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	for _, tt := range []struct {
		at   float64
		want int
	}{{10.1, 0}, {10.9, 0}, {11.0, 2}, {11.5, 2}, {12.2, 2}, {20, 0}} {
		at := time.UnixMilli(int64(tt.at * 1000))
		if got := m.lastSecond(at); got != tt.want {
			t.Errorf("at %v: %d, want %d", tt.at, got, tt.want)
		}
		m.add(at)
	}
}

// TestNoRights says in the log what the service account lacks.
func TestNoRights(t *testing.T) {
	t.Parallel()
	said := make(logWriter, 100)
	w := newWorld(t, said, func(w world) {
		w.serving.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "serving.knative.dev", Resource: "services"}, "", errors.New("no rights"))
		})
	})
	if line := <-said; !strings.Contains(line, "cannot be watched") || !strings.Contains(line, "no rights") {
		t.Errorf("it says %s", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("status before anything was seen: %v", err)
	}
}

type logWriter chan string

func (l logWriter) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default: // nobody reads more
	}
	return len(p), nil
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
