package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"weir.dev/weir/internal/h2"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// services are what the fake backend runs.
func services() []knative.ServiceStatus {
	return []knative.ServiceStatus{
		{
			Name: "digits", URL: "http://digits.default.localhost:8080", Ready: true, Model: true,
			Revisions: []knative.RevisionStatus{{Name: "digits-00001", Version: 1, Percent: 100, State: knative.StateIdle}},
		},
		{
			Name: "imagenet", URL: "http://imagenet.default.localhost:8080", Ready: true, Model: true, EventTypes: []string{"com.example.photo"},
			Revisions: []knative.RevisionStatus{
				{Name: "imagenet-00001", Tags: []string{"lite0"}, Version: 1, Percent: 100, Images: true, State: knative.StateReady},
				{Name: "imagenet-00002", Tags: []string{"lite2"}, Version: 2, Images: true, State: knative.StateIdle},
			},
		},
		{
			Name: "router", URL: "http://router.default.localhost:8080", Ready: true,
			Revisions: []knative.RevisionStatus{{Name: "router-00001", Percent: 100, State: knative.StateReady}},
		},
		{
			Name: "shop", URL: "http://shop.default.localhost:8080", Ready: true, EventTypes: []string{"com.example.order"},
			Revisions: []knative.RevisionStatus{{Name: "shop-00001", Percent: 100, State: knative.StateReady}},
		},
	}
}

// fakeBackend is a Backend of functions.
type fakeBackend struct {
	RoundTripFn func(r *http.Request) (*http.Response, error)
	StatusFn    func(ctx context.Context) ([]knative.ServiceStatus, error)

	mu      sync.Mutex
	changed chan struct{}
}

func (b *fakeBackend) RoundTrip(r *http.Request) (*http.Response, error) { return b.RoundTripFn(r) }

func (b *fakeBackend) Status(ctx context.Context) ([]knative.ServiceStatus, error) {
	if b.StatusFn == nil {
		return services(), nil
	}
	return b.StatusFn(ctx)
}

func (b *fakeBackend) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

func (b *fakeBackend) change() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// seen is what a replica got, as echo answers it.
type seen struct {
	Revision, Method, Path, Query, Host, Body string
	Header                                    http.Header
}

// echo is a replica that answers what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_ = json.NewEncoder(w).Encode(seen{r.Header.Get("Test-Revision"), r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Host, string(body), r.Header})
}

// replicaBackend sends requests to a replica, with the revision that was asked for in the header Test-Revision.
func replicaBackend(t testing.TB, replica http.HandlerFunc) *fakeBackend {
	t.Helper()
	srv := httptest.NewUnstartedServer(replica)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	calls := &http.Transport{Protocols: new(http.Protocols)}
	calls.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(calls.CloseIdleConnections)
	return &fakeBackend{RoundTripFn: func(r *http.Request) (*http.Response, error) {
		out := r.Clone(r.Context())
		out.Trailer = r.Trailer
		out.Header.Set("Test-Revision", r.URL.Host)
		out.URL.Host = srv.Listener.Addr().String()
		via := transport
		if rpc.IsCall(r) {
			via = calls
		}
		res, err := via.RoundTrip(out)
		if err == nil {
			res.Header.Set(knative.HeaderRevision, r.URL.Host) // as the engine does
		}
		return res, err
	}}
}

// logBuffer is a log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fixture is a router on a port of this machine.
type fixture struct {
	rt     *Router
	url    string
	client *http.Client
	log    *logBuffer
}

// start serves o's Router after one Sync. Zero fields of o are filled in for tests.
func start(t testing.TB, o Options) *fixture {
	t.Helper()
	f := &fixture{log: &logBuffer{}}
	o.Log = zerolog.New(f.log)
	o.Self = "router"
	if o.Home == nil {
		o.Home = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page "+r.URL.Path) })
	}
	rt, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		// As the programs do. Some tests leave requests that do not end.
		_ = server.RunBeside(ctx, ln, rt.Handler(), server.Limits{Drain: 5 * time.Second}, h2.New(rt.Handler(), h2.Options{}))
	}()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() { transport.CloseIdleConnections(); stop(); <-done })
	f.rt, f.url = rt, "http://"+ln.Addr().String()
	f.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return f
}

// ask is a request of a test.
type ask struct {
	method, path, host, body string
	header                   map[string]string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (f *fixture) do(t testing.TB, a ask) answer {
	t.Helper()
	if a.method == "" {
		a.method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), a.method, f.url+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = a.host
	for name, value := range a.header {
		r.Header.Set(name, value)
	}
	res, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

// errorText is the text of an answer's {"error": …}, or the whole body if it is none.
func (a answer) errorText() string {
	var e struct{ Error string }
	if json.Unmarshal([]byte(a.body), &e) != nil || e.Error == "" {
		return a.body
	}
	return e.Error
}

func (a answer) seen(t testing.TB) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(a.body), &s); err != nil || a.status != http.StatusOK {
		t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	return s
}
