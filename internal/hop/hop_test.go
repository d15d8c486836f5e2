package hop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir.dev/weir/internal/soon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves h and returns a Transport, the address and how many connections were opened to it.
func start(t *testing.T, h http.HandlerFunc) (*Transport, string, *atomic.Int64) {
	t.Helper()
	opened := new(atomic.Int64)
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	tr := New(&http.Transport{
		DialContext: new(net.Dialer).DialContext, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute, DisableCompression: true,
	})
	t.Cleanup(tr.CloseIdleConnections)
	return tr, "http://" + srv.Listener.Addr().String(), opened
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// answer is what a request brings.
type answer struct {
	status  int
	body    string
	trailer string
}

func ask(t *testing.T, tr *Transport, req *http.Request) answer {
	t.Helper()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body), resp.Trailer.Get("Sum")}
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = io.WriteString(w, r.Method+" "+r.Host+" "+r.RequestURI+" "+r.Header.Get("A")+" "+r.UserAgent()+" "+strconv.FormatInt(r.ContentLength, 10)+" ")
	_, _ = w.Write(body)
}

func TestRequestsArriveWhole(t *testing.T) {
	t.Parallel()
	tr, url, opened := start(t, echo)
	long := strings.Repeat("0123456789abcdef", 40<<10)
	for _, test := range []struct{ name, method, body string }{
		{"none", http.MethodGet, ""}, {"empty", http.MethodPost, ""}, {"short", http.MethodPost, "abc"},
		{"the longest short one", http.MethodPut, long[:Short]}, {"long", http.MethodPost, long[:Short+1]}, {"longer", http.MethodPost, long},
	} {
		req := request(t, test.method, url+"/a%2Fb?c=d", strings.NewReader(test.body))
		req.Header = http.Header{"A": {"1"}, "User-Agent": {"x"}}
		req.Host = "model.example"
		want := answer{200, test.method + " model.example /a%2Fb?c=d 1 x " + strconv.Itoa(len(test.body)) + " " + test.body, ""}
		if got := ask(t, tr, req); got != want {
			t.Errorf("%s: got %d %.80q… (%d bytes)", test.name, got.status, got.body, len(got.body))
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections were opened for requests one after the other", n)
	}
}

func TestAnswersArriveWhole(t *testing.T) {
	t.Parallel()
	tr, url, opened := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/chunks":
			w.Header().Set("Trailer", "Sum")
			_, _ = w.Write([]byte("a"))
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte("b"))
			w.Header().Set("Sum", "42")
		case "/hints":
			w.Header().Set("Link", "x")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = w.Write([]byte("a"))
		case "/last":
			w.Header().Set("Connection", "close")
			_, _ = w.Write([]byte("a"))
		default:
			_, _ = w.Write(bytes.Repeat([]byte("a"), 1<<20))
		}
	})
	var hints []int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		hints = append(hints, code)
		return nil
	}})
	for _, test := range []struct {
		method, path string
		want         answer
	}{
		{"GET", "/empty", answer{204, "", ""}},
		{"GET", "/chunks", answer{200, "ab", "42"}},
		{"GET", "/hints", answer{200, "a", ""}},
		{"HEAD", "/long", answer{200, "", ""}},
		{"GET", "/long", answer{200, strings.Repeat("a", 1<<20), ""}},
		{"GET", "/last", answer{200, "a", ""}},
		{"GET", "/empty", answer{204, "", ""}},
	} {
		if got := ask(t, tr, request(t, test.method, url+test.path, nil).WithContext(ctx)); got != test.want {
			t.Errorf("%s: got %+.80v", test.path, got)
		}
	}
	if !slices.Equal(hints, []int{http.StatusEarlyHints}) {
		t.Errorf("hints: %v", hints)
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections were opened, expected 2: one was closed with its answer", n)
	}
}

// TestAnswerBeforeTheBody is a function that answers while it still reads.
// TestAServerIsLostHalfway breaks answers off after their first half. Who asked learns of it before anything of a short
// one was passed on.
func TestAServerIsLostHalfway(t *testing.T) {
	t.Parallel()
	tr, url, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(make([]byte, size/2))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	for _, size := range []int{2, Short} {
		resp, err := tr.RoundTrip(request(t, http.MethodGet, url+"/?size="+strconv.Itoa(size), nil))
		if !errors.Is(err, io.EOF) {
			t.Errorf("half of %d bytes: error %v, want EOF", size, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	resp, err := tr.RoundTrip(request(t, http.MethodGet, url+"/?size="+strconv.Itoa(2*Short), nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half of a long answer: error %v", err)
	}
}

func TestAnswerBeforeTheBody(t *testing.T) {
	t.Parallel()
	tr, url, _ := start(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = w.Write([]byte("begun"))
		_ = http.NewResponseController(w).Flush()
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
	})
	in, out := io.Pipe()
	req := request(t, http.MethodPost, url, in)
	req.ContentLength = 2 * Short
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	begun := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, begun); err != nil || string(begun) != "begun" {
		t.Fatal(string(begun), err)
	}
	go func() { _, _ = out.Write(make([]byte, 2*Short)); _ = out.Close() }()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(rest) != strconv.Itoa(2*Short) {
		t.Error(string(rest), err)
	}
}

func TestTheContextEndsARequest(t *testing.T) {
	t.Parallel()
	cancels := make(chan context.CancelFunc, 1)
	tr, url, opened := start(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/begun":
			_, _ = w.Write([]byte("a"))
			_ = http.NewResponseController(w).Flush()
		case "/waits":
			(<-cancels)()
		}
		<-r.Context().Done()
	})
	ask := func(ctx context.Context, path string, begun func()) error {
		resp, err := tr.RoundTrip(request(t, http.MethodGet, url+path, nil).WithContext(ctx))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		begun()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	for _, path := range []string{"/waits", "/begun"} {
		ctx, cancel := context.WithCancel(t.Context())
		if path == "/waits" {
			cancels <- cancel
		}
		if err := ask(ctx, path, cancel); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", path, err)
		}
		cancel()
	}
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections were opened, expected 2: what was cut short is not used again", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ask(ctx, "/late", func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("/late: %v", err)
	}
}

// reader is a body that fails.
type reader struct {
	data   io.Reader
	err    error
	closed chan struct{}
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.data.Read(p)
	if err != nil {
		err = r.err
	}
	return n, err
}

func (r *reader) Close() error {
	close(r.closed)
	return nil
}

func TestABodyThatIsNotWhatWasDeclared(t *testing.T) {
	t.Parallel()
	errGone := errors.New("gone")
	for _, declared := range []int64{10, 2 * Short} {
		for _, test := range []struct {
			name string
			has  int64
			err  error
			want string
		}{
			{"fails", declared / 2, errGone, "gone"}, {"too short", declared / 2, io.EOF, "Content-Length"}, {"too long", declared + 5, io.EOF, "Content-Length"},
		} {
			tr, url, _ := start(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
			body := &reader{bytes.NewReader(make([]byte, test.has)), test.err, make(chan struct{})}
			req := request(t, http.MethodPost, url, body)
			req.ContentLength = declared
			resp, err := tr.RoundTrip(req)
			if err == nil && declared > Short && test.has > declared {
				// All that was declared may have been answered before more of it is seen.
				resp.Body.Close()
				err = errLonger
			}
			if err == nil {
				resp.Body.Close()
				t.Fatalf("%s: answered %s", test.name, resp.Status)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", test.name, err)
			}
			soon.Next(t, "the body's end", body.closed)
		}
	}
}

// TestTheTraceTellsOfConnections: which one is new, and that it was asked for first.
func TestTheTraceTellsOfConnections(t *testing.T) {
	t.Parallel()
	tr, url, _ := start(t, echo)
	var told []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: func(host string) { told = append(told, "get http://"+host) },
		GotConn: func(i httptrace.GotConnInfo) { told = append(told, "got, kept: "+strconv.FormatBool(i.Reused)) },
	})
	for range 2 {
		ask(t, tr, request(t, http.MethodGet, url, nil).WithContext(ctx))
	}
	if want := []string{"get " + url, "got, kept: false", "get " + url, "got, kept: true"}; !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

func TestWhereAHostIsDialled(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"h": "h:80", "h:81": "h:81", "[::1]": "[::1]:80", "[::1]:81": "[::1]:81", "127.0.0.1": "127.0.0.1:80"} {
		if got := address(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestAClosedConnectionIsNotUsed(t *testing.T) {
	t.Parallel()
	tr, url, opened := start(t, echo)
	ask(t, tr, request(t, http.MethodGet, url, nil))
	host := strings.TrimPrefix(url, "http://")
	c := tr.conns.last(host)
	if err := c.Conn.(*net.TCPConn).CloseRead(); err != nil { // looks as if the other side had closed it
		t.Fatal(err)
	}
	tr.conns.mu.Lock()
	tr.conns.idle[host] = []*conn{c}
	tr.conns.mu.Unlock()
	ask(t, tr, request(t, http.MethodGet, url, nil))
	if n := opened.Load(); n != 2 {
		t.Errorf("%d connections were opened, expected 2", n)
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	tr, url, _ := start(t, echo)
	tr.conns.keep = 20 * time.Millisecond
	ask(t, tr, request(t, http.MethodGet, url, nil))
	for end := time.Now().Add(10 * time.Second); ; {
		tr.conns.mu.Lock()
		idle := len(tr.conns.idle)
		tr.conns.mu.Unlock()
		if idle == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a connection is idle for ten seconds")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestALongHeaderIsRefused(t *testing.T) {
	t.Parallel()
	tr, url, _ := start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("A", strings.Repeat("a", maxHead))
	})
	if _, err := tr.RoundTrip(request(t, http.MethodGet, url, nil)); !errors.Is(err, errHead) {
		t.Error(err)
	}
}
