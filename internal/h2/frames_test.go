package h2

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// ask sends the head of a request with fields of its own.
func (c *client) ask(id uint32, end bool, fields ...string) {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	block := c.block.Bytes()
	n := min(len(block), 16<<10)
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:n], EndHeaders: n == len(block), EndStream: end})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), 16<<10)
		_ = c.WriteContinuation(id, n == len(block), block[:n])
	}
}

// outcome is what a stream came to.
type outcome struct {
	status, body string
	reset        *http2.ErrCode
}

// answer reads until a stream has ended and returns what was said on it.
func (c *client) answer(t testing.TB, id uint32) (o outcome) {
	t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("stream %d: %v after %+v", id, err, o)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			t.Fatalf("stream %d: the connection ends with %v", id, g.ErrCode)
		}
		if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() {
			_ = c.WritePing(true, ping.Data)
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if s := f.PseudoValue("status"); s != "" {
				o.status = s
			}
		case *http2.DataFrame:
			o.body += string(f.Data())
		case *http2.RSTStreamFrame:
			o.reset = &f.ErrCode
			return o
		default:
			continue
		}
		if f.Header().Flags.Has(http2.FlagDataEndStream) {
			return o
		}
	}
}

// decoded has a client read header fields, with a table of that size for them.
func (c *client) decoded(table uint32) *client {
	c.SetMaxReadFrameSize(16 << 10)
	c.ReadMetaHeaders = hpack.NewDecoder(table, nil)
	return c
}

// TestRoomComesBack sends more than a window on one connection in every way in which nobody reads it.
func TestRoomComesBack(t *testing.T) {
	t.Parallel()
	p := listen(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/read":
			_, _ = io.Copy(io.Discard, r.Body)
		case "/close":
			_ = r.Body.Close()
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}, Options{})
	chunk := make([]byte, 16<<10)
	const chunks = window/(16<<10) + 16
	for name, send := range map[string]func(t *testing.T, c *client){
		"bodies that were left": func(t *testing.T, c *client) {
			for i := range uint32(chunks / 4) {
				c.headers(1+2*i, "POST", "/", false)
				for n := range 4 {
					_ = c.WriteData(1+2*i, n == 3, chunk)
				}
				c.answer(t, 1+2*i)
			}
		},
		"padding": func(t *testing.T, c *client) {
			c.headers(1, "POST", "/read", false)
			for range window / 200 {
				_ = c.WriteDataPadded(1, false, []byte{1}, make([]byte, 255))
			}
			_ = c.WriteData(1, true, nil)
			c.answer(t, 1)
		},
		"bodies that were closed": func(t *testing.T, c *client) {
			for _, id := range []uint32{1, 3} {
				c.headers(id, "POST", "/close", false)
				for f, err := c.ReadFrame(); ; f, err = c.ReadFrame() {
					if err != nil {
						t.Error(err)
						return
					}
					if f.Header().StreamID == id && f.Header().Type == http2.FrameHeaders {
						break
					}
				}
				for range chunks / 2 {
					_ = c.WriteData(id, false, chunk)
				}
			}
		},
		"requests that have ended": func(t *testing.T, c *client) {
			c.headers(1, "POST", "/", false)
			c.answer(t, 1)
			c.headers(3, "GET", "/", true)
			c.answer(t, 3)
			for range chunks {
				_ = c.WriteData(1, false, chunk)
			}
			_ = c.WriteWindowUpdate(3, 1) // 3 is still the newest
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, p.addr).decoded(4096)
			send(t, c)
			c.headers(1001, "GET", "/", true)
			if got := c.answer(t, 1001); got.status != "200" {
				t.Errorf("%+v", got)
			}
			_ = c.Close()
		})
	}
}

// TestOddRequests asks in ways in which net/http's client does not.
func TestOddRequests(t *testing.T) {
	t.Parallel()
	p := listen(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/closed":
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			n, err := r.Body.Read(make([]byte, 1))
			_, _ = io.WriteString(w, strconv.Itoa(n)+" "+strconv.FormatBool(errors.Is(err, http.ErrBodyReadAfterClose)))
		case "/short":
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "123")
		case "/headers":
			w.Header()["X-Bad"] = []string{"a\nb"}
			w.Header().Set("X-Long", strings.Repeat("x", 40<<10))
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, r.Host+" "+strconv.Itoa(len(r.Header["Host"]))+" "+strconv.Itoa(len(r.Trailer)))
		}
	}, Options{})
	get := func(path string, more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":path", path}, more...)
	}
	long := strings.Repeat("x", 20<<10)
	trailer := func(c *client) { c.ask(1, true, "x-late", "1") }
	for _, tt := range []struct {
		name   string
		fields []string
		then   func(*client)
		want   outcome
	}{
		{name: "a host without an authority", fields: get("/", "host", "b"), want: outcome{status: "200", body: "b 0 0"}},
		{name: "a host beside an authority", fields: get("/", ":authority", "a"), want: outcome{status: "200", body: "a 0 0"}},
		{name: "a trailer that was not announced", fields: get("/", "host", "b"), then: trailer, want: outcome{status: "200", body: "b 0 0"}},
		{name: "a header that is too long", fields: get("/", "x-a", long, "x-b", long, "x-c", long, "x-d", long), want: outcome{status: "431"}},
		{name: "a header field that is too long", fields: get("/", "x-a", strings.Repeat("x", maxHeader+1)), want: outcome{status: "431"}},
		{name: "a trailer that is too long", fields: get("/", "host", "b"), then: func(c *client) { c.ask(1, true, "x-late", strings.Repeat("x", maxHeader)) },
			want: outcome{reset: new(http2.ErrCodeEnhanceYourCalm)}},
		{name: "a body in a long frame", fields: get("/closed"), then: func(c *client) { _ = c.WriteData(1, true, make([]byte, maxFrame)) },
			want: outcome{status: "200", body: "0 true"}},
		{name: "a body that is read when it is closed", fields: get("/closed"), then: trailer, want: outcome{status: "200", body: "0 true"}},
		{name: "an answer shorter than its length", fields: get("/short"), want: outcome{reset: new(http2.ErrCodeInternal)}},
		{name: "header fields of every kind", fields: get("/headers"), want: outcome{status: "200"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, p.addr).decoded(0)
			_ = c.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			c.ask(1, tt.then == nil, tt.fields...)
			if tt.then != nil {
				tt.then(c)
			}
			got := c.answer(t, 1)
			same := got.status == tt.want.status && (got.body == tt.want.body || tt.want.body == "")
			if !same || (got.reset == nil) != (tt.want.reset == nil) || got.reset != nil && *got.reset != *tt.want.reset {
				t.Errorf("%.80q, reset %v", got.status+" "+got.body, got.reset)
			}
			if got.reset == nil {
				// Again, now that the header's fields might be remembered.
				c.ask(3, true, get("/headers")...)
				if got := c.answer(t, 3); got.status != "200" {
					t.Errorf("the next: %+v", got)
				}
			}
			_ = c.Close()
		})
	}
}

// TestTooMuch has a client say more than any has to say.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	p := listen(t, func(http.ResponseWriter, *http.Request) {}, Options{})
	c := dial(t, p.addr)
	_ = c.WriteSettings(make([]http2.Setting, mostSettings+1)...)
	if code, said := c.goneAway(t); !said || code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("settings: %v, %v", code, said)
	}
}

// TestHalfAHeader does not wait for the rest of a header although an answer runs.
func TestHalfAHeader(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	p := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	}, Options{Begin: 50 * time.Millisecond})
	c := dial(t, p.addr)
	c.headers(1, "GET", "/", true)
	<-begun
	_, _ = c.Write([]byte{0, 0, 9, byte(http2.FrameHeaders), 5, 0, 0, 0, 3, 0x82})
	c.goneAway(t)
	<-ended
}

// TestClientEnds lets a connection end whose client says that it goes, when what it asked is answered.
func TestClientEnds(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := listen(t, func(http.ResponseWriter, *http.Request) { <-release }, Options{})
	c := dial(t, p.addr).decoded(4096)
	c.headers(1, "GET", "/", true)
	_ = c.WriteGoAway(0, http2.ErrCodeNo, nil)
	close(release)
	if got := c.answer(t, 1); got.status != "200" {
		t.Errorf("%+v", got)
	}
	if code, said := c.goneAway(t); !said || code != http2.ErrCodeNo {
		t.Errorf("it ends with %v, %v", code, said)
	}
}

// TestLastRequest drains connections of clients that stay: what was asked before is answered, what comes after is not, and the
// server closes them.
func TestLastRequest(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	p := listen(t, func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-release }, Options{})
	idle, busy := dial(t, p.addr).decoded(4096), dial(t, p.addr).decoded(4096)
	idle.headers(1, "GET", "/", true)
	busy.headers(1, "GET", "/", true)
	<-begun
	<-begun
	release <- struct{}{} // one of them is idle now: which, does not matter
	down := make(chan error, 1)
	go func() { down <- p.shutdown(20 * time.Second) }()
	for _, c := range []*client{idle, busy} {
		for last := uint32(maxWindow); last == maxWindow; {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() && c == busy {
				_ = c.WritePing(true, ping.Data) // the other one leaves it at that
			}
			if g, ok := f.(*http2.GoAwayFrame); ok {
				last = g.LastStreamID
			}
		}
		c.headers(3, "POST", "/", false)
		_ = c.WriteData(3, true, []byte("late"))
		_ = c.WritePing(false, [8]byte{1})
		c.ignored(t, 3, true)
	}
	close(release)
	for _, c := range []*client{idle, busy} {
		c.ignored(t, 3, false)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// ignored reads to the end, or to the answer to a ping: nothing is said on that stream.
func (c *client) ignored(t testing.TB, id uint32, ping bool) {
	t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		if f.Header().StreamID == id {
			t.Errorf("what came late is answered: %v", f)
		}
		if f, ok := f.(*http2.PingFrame); ok && f.IsAck() && ping {
			return
		}
	}
}

// TestAnswerNobodyReads keeps no more of an answer than it has to, however much the client allows.
func TestAnswerNobodyReads(t *testing.T) {
	t.Parallel()
	wrote := make(chan error, 1)
	p := listen(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		_, err := w.Write(make([]byte, 64<<20))
		wrote <- err
	}, Options{})
	c := dial(t, p.addr)
	_ = c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	_ = c.WriteWindowUpdate(0, 1<<30)
	c.headers(1, "GET", "/", true)
	if err := <-wrote; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("all was written: %v", err)
	}
	_ = c.Close()
}

// TestBusyIsNotIdle keeps a connection whose answer takes longer than it may be idle.
func TestBusyIsNotIdle(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := listen(t, func(http.ResponseWriter, *http.Request) { <-release }, Options{Idle: 30 * time.Millisecond})
	c := dial(t, p.addr)
	c.headers(1, "GET", "/", true)
	_ = c.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	for {
		f, err := c.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if _, ok := f.(*http2.GoAwayFrame); ok || err != nil {
			t.Errorf("the connection ends: %v, %v", f, err)
			break
		}
	}
	close(release)
}

// pings is as many pings as one write may have.
var pings = func() []byte {
	var b bytes.Buffer
	_ = http2.NewFramer(&b, bufio.NewReader(nil)).WritePing(false, [8]byte{})
	return bytes.Repeat(b.Bytes(), 4096)
}()
