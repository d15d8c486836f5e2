package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"weir.dev/weir/knative"
)

// refusing is a backend whose queue is full. As the engine, it closes a body without having read it.
func refusing() *fakeBackend {
	return &fakeBackend{RoundTripFn: func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("revision: %w", knative.ErrOverloaded)
	}}
}

// early is a backend that refuses before a request is made for it.
type early struct{ *fakeBackend }

func (early) Refuse(revision string) error {
	return fmt.Errorf("%s: %w", revision, knative.ErrOverloaded)
}

// refusingEarly is a backend to which no request may be sent.
func refusingEarly(t testing.TB) early {
	return early{&fakeBackend{RoundTripFn: func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent that the backend had refused")
		return nil, knative.ErrOverloaded
	}}}
}

// TestARefusalKeepsTheConnection: under overload each refusal would cost client and server a new one.
func TestARefusalKeepsTheConnection(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]knative.Backend{"refused when sent": refusing(), "refused before": refusingEarly(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusalsKeepTheConnection(t, b)
		})
	}
}

func refusalsKeepTheConnection(t *testing.T, b knative.Backend) {
	f := start(t, Options{Backend: b})
	for _, tt := range []struct {
		name   string
		size   int
		header map[string]string
		conns  int
	}{
		{name: "short body", size: 100 << 10, conns: 1},
		{name: "no body", conns: 1},
		{name: "more than is worth reading", size: shortBody + 1, conns: 4},
		{name: "a body that is still to be asked for", size: 100 << 10, header: map[string]string{"Expect": "100-continue"}, conns: 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// What does not come at once costs the connection: on a busy machine that may be any body, but not each time.
			var opened int
			var err error
			for range 10 {
				if opened, err = refusedFourTimes(t, f, tt.size, tt.header); err == nil && opened == tt.conns {
					return
				}
			}
			t.Errorf("%d connections for 4 requests, want %d (%v)", opened, tt.conns, err)
		})
	}
}

// refusedFourTimes asks one after the other, and returns how many connections that took.
func refusedFourTimes(t *testing.T, f *fixture, size int, header map[string]string) (opened int, err error) {
	t.Helper()
	transport := f.client.Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	for range 4 {
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(c httptrace.GotConnInfo) {
				if !c.Reused {
					opened++
				}
			},
		}), http.MethodPost, f.url+"/v1/models/digits:predict", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			r.Header.Set(name, value)
		}
		res, err := transport.RoundTrip(r)
		if err != nil {
			return opened, err
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(string(got), "queue is full") {
			t.Errorf("%d %v %q, want a 503 with Retry-After", res.StatusCode, res.Header, got)
		}
	}
	return opened, nil
}

// TestARefusalDoesNotWaitForTheBody: what does not come at once is not waited for.
func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: refusingEarly(t)})
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /v1/models/digits:predict HTTP/1.1\r\nHost: weir\r\nContent-Length: 100\r\n\r\nonly the beginning")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || !res.Close {
		t.Errorf("%s, the connection is kept: %t; want a 503, and not", res.Status, !res.Close)
	}
}

// BenchmarkRefusal measures what a refusal costs client, connection and router together.
func BenchmarkRefusal(b *testing.B) {
	f := start(b, Options{Backend: refusingEarly(b)})
	body := strings.Repeat("x", 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if a := f.do(b, ask{path: "/v1/models/digits:predict", body: body}); a.status != http.StatusServiceUnavailable {
			b.Fatalf("%+v", a)
		}
	}
}
