package throttle

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/internal/soon"
)

// behind serves what a replica serves, through a reverse proxy with the throttle as its transport, as the router does.
func behind(t *testing.T, replica http.HandlerFunc) (*httptest.Server, *Throttle) {
	t.Helper()
	back := httptest.NewServer(replica)
	t.Cleanup(back.Close)
	th := New(Options{Revision: "rev", ContainerConcurrency: 1})
	t.Cleanup(th.Close)
	th.Add("a", back.Listener.Addr().String())
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "rev"}) },
		Transport:     th,
		FlushInterval: -1,
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // an HTTP/1 server reads all of a body before it answers
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front, th
}

func TestBodiesStreamBothWays(t *testing.T) {
	t.Parallel()
	front, _ := behind(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Count")
		lines := bufio.NewScanner(r.Body)
		n := 0
		for lines.Scan() {
			n++
			_, _ = fmt.Fprintf(w, "got %s\n", lines.Text())
			_ = rc.Flush()
		}
		w.Header().Set("X-Count", fmt.Sprint(n))
	})
	c := dial(t, front)
	_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n0\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answers := bufio.NewReader(resp.Body)
	for i := range 5 {
		if i > 0 {
			_, _ = fmt.Fprintf(c, "2\r\n%d\n\r\n", i)
		}
		line, err := answers.ReadString('\n')
		if err != nil || line != fmt.Sprintf("got %d\n", i) {
			t.Fatalf("line %q, error %v", line, err)
		}
	}
	_, _ = fmt.Fprint(c, "0\r\n\r\n")
	if _, err := io.ReadAll(answers); err != nil {
		t.Fatal(err)
	}
	if got := resp.Trailer.Get("X-Count"); got != "5" {
		t.Errorf("trailer %q, want 5", got)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	front, th := behind(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
	})
	c := dial(t, front)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Weir-Revision") != "rev" {
		t.Fatalf("answer %v", resp)
	}
	for range 3 {
		_, _ = io.WriteString(c, "hello\n")
		if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
			t.Fatalf("echo %q, error %v", line, err)
		}
	}
	if rep := th.Report(time.Now()); rep.InFlight != 1 {
		t.Errorf("while it is open: %+v", rep)
	}
	drained := th.Remove("a")
	_ = c.Close()
	soon.Next(t, "the connection's end", drained)
}

func dial(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestReplayWhileTheFailedAttemptReads has a transport that still reads for an attempt that has failed.
func TestReplayWhileTheFailedAttemptReads(t *testing.T) {
	t.Parallel()
	client, body := io.Pipe()
	p := newReplay(client, -1, new(sync.Pool))
	first := p.attempt()
	got := make([]byte, 5)
	go func() { _, _ = io.WriteString(body, "hello") }()
	if _, err := io.ReadFull(first, got); err != nil {
		t.Fatal(err)
	}
	hanging := make(chan error, 1)
	reading := make(chan struct{})
	go func() {
		close(reading)
		_, err := first.Read(make([]byte, 3)) // the client has sent no more
		hanging <- err
	}()
	<-reading
	second := p.attempt()
	_ = first.Close()
	go func() {
		_, _ = io.WriteString(body, " world")
		_ = body.Close()
	}()
	all, err := io.ReadAll(second)
	if err != nil || string(all) != "hello world" {
		t.Errorf("second attempt read %q, error %v", all, err)
	}
	if err := soon.Next(t, "the hanging read", hanging); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	if n, err := first.Read(make([]byte, 3)); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the first attempt still read %d bytes, error %v", n, err)
	}
	p.settle()
	_ = second.Close()
	if _, err := body.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the client's body is still open: %v", err)
	}
}

// TestTheRequestBodyIsClosed has transports that are done with the body before and after the answer begins.
func TestTheRequestBodyIsClosed(t *testing.T) {
	t.Parallel()
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprint("early ", early), func(t *testing.T) {
			var later func() error
			th := New(Options{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
				later = r.Body.Close
				if early {
					_ = r.Body.Close()
				}
				return answer(""), nil
			})})
			th.Add("a", "1:1")
			closed := 0
			r := post(t.Context(), io.NopCloser(nil))
			r.Body = closer(func() { closed++ })
			if got := do(th, r); got.err != nil {
				t.Fatal(got.err)
			}
			if early != (closed == 1) {
				t.Errorf("closed %d times when the answer has begun", closed)
			}
			_ = later()
			if closed != 1 {
				t.Errorf("closed %d times", closed)
			}
		})
	}
}

// TestASlowClientHoldsNoPlace has one place: who has not sent all of a short body does not take it.
func TestASlowClientHoldsNoPlace(t *testing.T) {
	t.Parallel()
	front, _ := behind(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	})
	slow := dial(t, front)
	_, _ = fmt.Fprintf(slow, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
	for range 3 {
		resp, err := front.Client().Post(front.URL, "text/plain", strings.NewReader("abc"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(text) != "3" {
			t.Fatalf("%q %v", text, err)
		}
	}
	_, _ = fmt.Fprint(slow, "cd")
	resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "4" {
		t.Errorf("%q %v", text, err)
	}
}

// TestALongBodyIsSentAgain is a body that is written from where it is kept: the second replica gets all of it.
func TestALongBodyIsSentAgain(t *testing.T) {
	t.Parallel()
	broken := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 300<<10)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(broken.Close)
	whole := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum := crc32.NewIEEE()
		_, _ = io.Copy(sum, r.Body)
		_, _ = fmt.Fprint(w, sum.Sum32())
	}))
	t.Cleanup(whole.Close)
	th := New(Options{Revision: "rev", ContainerConcurrency: 1})
	t.Cleanup(th.Close)
	th.Add("broken", broken.Listener.Addr().String()) // the first is asked first
	th.Add("whole", whole.Listener.Addr().String())
	body := make([]byte, 600<<10)
	for i := range body {
		body[i] = byte(i * i >> 3)
	}
	for range 4 {
		req := post(t.Context(), io.MultiReader(bytes.NewReader(body)))
		req.ContentLength = int64(len(body))
		got := do(th, req)
		if want := fmt.Sprint(crc32.ChecksumIEEE(body)); got.err != nil || got.text != want {
			t.Fatalf("got %q, expected %s, %v", got.text, want, got.err)
		}
	}
	if spent := maxRetryTokens - th.tokens; spent < 3 {
		t.Errorf("%v retries, expected 4", spent)
	}
}
