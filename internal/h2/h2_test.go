package h2

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// port is a server on a port of this machine.
type port struct {
	addr     string
	server   *Server
	shutdown func(limit time.Duration) error
}

// listen serves h over HTTP/2, and over HTTP/1.1 beside it.
func listen(t testing.TB, h http.HandlerFunc, o Options) *port {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{addr: ln.Addr().String(), server: New(h, o)}
	plain := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	if o.Begin != 0 {
		plain.ReadHeaderTimeout = o.Begin
	}
	shared := p.server.Share(ln)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = plain.Serve(shared)
	}()
	done := false
	p.shutdown = func(limit time.Duration) error {
		done = true
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_ = plain.Shutdown(ctx)
		<-served
		return p.server.Shutdown(ctx)
	}
	t.Cleanup(func() {
		if done {
			return
		}
		if err := p.shutdown(20 * time.Second); err != nil {
			t.Error(err)
		}
	})
	return p
}

// newTransport speaks HTTP/2, or HTTP/1.1.
func newTransport(t testing.TB, h2 bool) *http.Transport {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, ExpectContinueTimeout: time.Minute}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func request(t testing.TB, ctx context.Context, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seen is what one side is told of the other.
type seen struct {
	Line, Host, Body string
	Length           int64
	Header, Trailer  http.Header
	Hints            int
}

// TestLikeNetHTTP has the same requests answered by net/http and here.
func TestLikeNetHTTP(t *testing.T) {
	t.Parallel()
	asked := make(chan seen, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked <- seen{Line: r.Method + " " + r.RequestURI + " " + r.URL.String() + " " + r.Proto, Host: r.Host, Body: string(body), Length: r.ContentLength, Header: r.Header, Trailer: r.Trailer}
		h := w.Header()
		h.Set("X-Answer", "1")
		h["Date"] = []string{"today"}
		switch r.URL.Path {
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/status":
			h.Set("Grpc-Status", "5")
			w.WriteHeader(http.StatusTeapot)
			h.Set("Late", "1")
		case "/trailer":
			h.Set("Trailer", "Grpc-Status, Unused")
			h.Set("Content-Type", "application/grpc")
			_, _ = io.WriteString(w, "message")
			h.Set("Grpc-Status", "0")
			h.Set(http.TrailerPrefix+"More", "2")
		case "/flush":
			h.Set("Connection", "keep-alive")
			h.Add("Several", "a")
			h.Add("Several", "b")
			_ = http.NewResponseController(w).Flush()
			for range 5 {
				_, _ = io.WriteString(w, "piece")
				_ = http.NewResponseController(w).Flush()
			}
		case "/hints":
			h.Set("Link", "x")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "<html>")
		case "/long":
			_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 300_000))
		case "/length":
			h.Set("Content-Length", "5")
			_, _ = io.WriteString(w, "12345")
		}
	}
	p := listen(t, handler, Options{})
	reference := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	reference.Config.Protocols = new(http.Protocols)
	reference.Config.Protocols.SetUnencryptedHTTP2(true)
	reference.Start()
	defer reference.Close()
	tr := newTransport(t, true)
	for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodHead} {
		for _, path := range []string{"/", "/nothing", "/status", "/trailer", "/flush", "/hints", "/long", "/length", "/a%2Fb//c?d=%20e"} {
			var asks, answers [2]seen
			for i, addr := range []string{reference.Listener.Addr().String(), p.addr} {
				r := request(t, t.Context(), method, "http://"+addr+path, nil)
				switch {
				case method == http.MethodPost && path == "/trailer":
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader("no length")), -1
					r.Trailer = http.Header{"Sum": {"42"}}
				case method == http.MethodPost && path == "/flush":
					r.Header.Set("Expect", "100-continue")
					fallthrough
				case method == http.MethodPost:
					body := strings.Repeat("body ", 40_000)
					r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				}
				r.Host = "model.example"
				r.Header["Several"] = []string{"1", "2"}
				r.Header["Cookie"] = []string{"a=1; b=2"}
				r.Header.Set("Te", "trailers")
				resp, err := tr.RoundTrip(r)
				if err != nil {
					t.Fatalf("%s %s %d: %v", method, path, i, err)
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Errorf("%s %s %d: %v", method, path, i, err)
				}
				asks[i], answers[i] = <-asked, seen{Line: resp.Status + " " + resp.Proto, Body: string(body), Length: resp.ContentLength, Header: resp.Header, Trailer: resp.Trailer}
			}
			if d := cmp.Diff(asks[0], asks[1]); d != "" {
				t.Errorf("%s %s: the request differs: %s", method, path, d)
			}
			if d := cmp.Diff(answers[0], answers[1]); d != "" {
				t.Errorf("%s %s: the answer differs: %s", method, path, d)
			}
		}
	}
}

// TestOnePort speaks both protocols on a port.
func TestOnePort(t *testing.T) {
	t.Parallel()
	p := listen(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, r.Proto, " ", r.RemoteAddr != "", " ", r.Context().Value(http.LocalAddrContextKey))
	}, Options{})
	for proto, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		tr := newTransport(t, h2)
		for range 2 {
			resp, err := tr.RoundTrip(request(t, t.Context(), http.MethodGet, "http://"+p.addr, nil))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if want := proto + " true " + p.addr; string(body) != want {
				t.Errorf("%q, want %q", body, want)
			}
		}
	}
}

// TestLargeBodies streams 8 MiB each way.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	p := listen(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, Options{})
	want := make([]byte, 8<<20)
	_, _ = rand.Read(want)
	resp, err := newTransport(t, true).RoundTrip(request(t, t.Context(), http.MethodPost, "http://"+p.addr, bytes.NewReader(want)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back: %v", len(got), err)
	}
}

// TestDialogue has each side wait for the other's next word.
func TestDialogue(t *testing.T) {
	t.Parallel()
	p := listen(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		var word [5]byte
		for {
			if _, err := io.ReadFull(r.Body, word[:]); err != nil {
				return
			}
			_, _ = w.Write(word[:])
			_ = rc.Flush()
		}
	}, Options{})
	in, out := io.Pipe()
	resp, err := newTransport(t, true).RoundTrip(request(t, t.Context(), http.MethodPost, "http://"+p.addr, in))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		want := fmt.Sprintf("%05d", i)
		_, _ = io.WriteString(out, want)
		var got [5]byte
		if _, err := io.ReadFull(resp.Body, got[:]); err != nil || string(got[:]) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	_ = out.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestEnds has a request end before its answer, for each reason.
func TestEnds(t *testing.T) {
	t.Parallel()
	type end struct{ read, context, write error }
	ended, begun := make(chan end, 1), make(chan struct{}, 1)
	p := listen(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		switch r.URL.Path {
		case "/abort":
			_ = rc.Flush()
			panic(http.ErrAbortHandler)
		case "/longer":
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "12345")
			_, err := io.WriteString(w, "6")
			ended <- end{write: err}
			return
		case "/late":
			_ = rc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		case "/unread":
			_ = rc.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := w.Write(make([]byte, 32<<20))
			ended <- end{write: err}
			return
		}
		begun <- struct{}{}
		_, err := r.Body.Read(make([]byte, 1))
		if r.URL.Path != "/late" {
			<-r.Context().Done()
		}
		ended <- end{read: err, context: r.Context().Err()}
	}, Options{})
	tr := newTransport(t, true)
	ask := func(ctx context.Context, path string) (*http.Response, error) {
		open, _ := io.Pipe()
		return tr.RoundTrip(request(t, ctx, http.MethodPost, "http://"+p.addr+path, open))
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if _, err := ask(ctx, "/cancel"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancel: %v", err)
	}
	if got := <-ended; got.read == nil || got.context == nil {
		t.Errorf("cancel: %+v", got)
	}
	resp, err := ask(t.Context(), "/late")
	<-begun
	if got := <-ended; !errors.Is(got.read, os.ErrDeadlineExceeded) || got.context != nil || err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("late: %+v, %v", got, err)
	}
	resp, err = ask(t.Context(), "/unread")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-ended; !errors.Is(got.write, os.ErrDeadlineExceeded) {
		t.Errorf("unread: %+v", got)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("half an answer looks whole")
	}
	resp, err = ask(t.Context(), "/longer")
	if got := <-ended; !errors.Is(got.write, http.ErrContentLength) || err != nil || resp.ContentLength != 5 {
		t.Errorf("longer than its Content-Length: %+v, %v", got, err)
	}
	resp, err = ask(t.Context(), "/abort")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("an answer that was broken off looks whole")
	}
	// The connection ends.
	conn := dial(t, p.addr)
	conn.headers(1, "POST", "/gone", false)
	<-begun
	_ = conn.Close()
	if got := <-ended; got.read == nil || got.context == nil {
		t.Errorf("the connection ended: %+v", got)
	}
}

// TestDrain ends a server under load: nothing that it took is lost, and what it did not take the client knows of.
func TestDrain(t *testing.T) {
	t.Parallel()
	for range 5 {
		p := listen(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		}, Options{})
		tr := newTransport(t, true)
		var answered atomic.Int64
		ends, enough := make(chan error, 16), make(chan struct{})
		for range cap(ends) {
			go func() {
				for {
					resp, err := tr.RoundTrip(request(t, t.Context(), http.MethodPost, "http://"+p.addr, strings.NewReader("hello")))
					if err == nil {
						_, err = io.ReadAll(resp.Body)
					}
					if err != nil {
						ends <- err
						return
					}
					if answered.Add(1) == 1000 {
						close(enough)
					}
				}
			}()
		}
		<-enough
		if err := p.shutdown(20 * time.Second); err != nil {
			t.Error(err)
		}
		for range cap(ends) {
			// The transport asks again by itself where the server says that it took nothing; the port is closed.
			if err := <-ends; !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("a request was lost: %v", err)
			}
		}
	}
}

// TestDrainTooLong cuts off what does not end.
func TestDrainTooLong(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	p := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}, Options{})
	failed := make(chan error, 1)
	go func() {
		_, err := newTransport(t, true).RoundTrip(request(t, t.Context(), http.MethodGet, "http://"+p.addr, nil))
		failed <- err
	}()
	<-begun
	if err := p.shutdown(20 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the server ends with %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("there was an answer")
	}
}
