package h2

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestConformance runs h2spec.
func TestConformance(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	}), Options{Begin: time.Second})
	shared := s.Share(ln)
	go func() {
		for {
			conn, err := shared.Accept()
			if err != nil {
				return
			}
			_ = conn.Close() // a wrong preface is HTTP/1.1's to refuse
		}
	}()
	t.Cleanup(func() {
		_ = shared.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // it leaves requests that do not end
		_ = s.Shutdown(ctx)
	})
	host, text, _ := net.SplitHostPort(ln.Addr().String())
	number, _ := strconv.Atoi(text)
	// Five of the longest are more than a frame.
	ok, err := h2spec.Run(&config.Config{Host: host, Port: number, Path: "/", Timeout: 5 * time.Second, MaxHeaderLen: maxFrame / 4, Strict: true})
	if err != nil || !ok {
		t.Errorf("h2spec: %v; what failed stands above", err)
	}
}

// client is a connection whose frames a test writes itself.
type client struct {
	net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &client{Conn: conn, Framer: http2.NewFramer(conn, bufio.NewReader(conn))}
	c.enc = hpack.NewEncoder(&c.block)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = c.WriteSettings()
	return c
}

func (c *client) headers(id uint32, method, path string, end bool) {
	c.block.Reset()
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", "a"}} {
		_ = c.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_ = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: end})
}

// goneAway reads to the end of the connection and returns the code of the last GOAWAY.
func (c *client) goneAway(t testing.TB) (code http2.ErrCode, said bool) {
	t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return code, said
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code, said = g.ErrCode, true
		}
		if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() {
			_ = c.WritePing(true, ping.Data)
		}
	}
}

// TestRapidReset gives up each request at once (CVE-2023-44487): what still runs stays bounded.
func TestRapidReset(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	release := make(chan struct{})
	p := listen(t, func(http.ResponseWriter, *http.Request) {
		for n := running.Add(1); ; {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		running.Add(-1)
	}, Options{})
	c := dial(t, p.addr)
	go func() {
		for id := uint32(1); id < 20_000; id += 2 {
			c.headers(id, "GET", "/", true)
			_ = c.WriteRSTStream(id, http2.ErrCodeCancel)
		}
	}()
	code, said := c.goneAway(t)
	close(release)
	if !said || code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the client is told %v, %v", code, said)
	}
	if n := most.Load(); n > 2*maxStreams {
		t.Errorf("%d requests ran at a time", n)
	}
}

// TestSilence opens connections that do not go on.
func TestSilence(t *testing.T) {
	t.Parallel()
	p := listen(t, func(http.ResponseWriter, *http.Request) {}, Options{Begin: 50 * time.Millisecond, Idle: 200 * time.Millisecond})
	for name, begin := range map[string]string{
		"nothing": "", "half a preface": http2.ClientPreface[:10], "half a frame": http2.ClientPreface + "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00",
	} {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(conn, begin)
		if name == "nothing" {
			_ = conn.Close()
			continue
		}
		if _, err := io.Copy(io.Discard, conn); err != nil {
			if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
				t.Errorf("%s: it is still open", name)
			}
		}
		_ = conn.Close()
	}
	c := dial(t, p.addr)
	if code, said := c.goneAway(t); !said || code != http2.ErrCodeNo {
		t.Errorf("a connection without requests: %v, %v", code, said)
	}
}

// TestPath asks for what is no path of this server.
func TestPath(t *testing.T) {
	t.Parallel()
	p := listen(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%q is answered", r.RequestURI) }, Options{})
	for _, path := range []string{"", "a", "http://elsewhere/a", "?a"} {
		c := dial(t, p.addr)
		c.headers(1, "GET", path, true)
		for {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatalf("%q: %v", path, err)
			}
			if reset, ok := f.(*http2.RSTStreamFrame); ok {
				if reset.ErrCode != http2.ErrCodeProtocol {
					t.Errorf("%q: %v", path, reset.ErrCode)
				}
				break
			}
		}
	}
}

// TestWindow sends what nobody reads: a window of it is taken, and not a byte more, however many streams it comes on.
func TestWindow(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := listen(t, func(http.ResponseWriter, *http.Request) { <-release }, Options{})
	c := dial(t, p.addr)
	c.headers(1, "POST", "/", false)
	c.headers(3, "POST", "/", false)
	for sent := range window / (16 << 10) {
		_ = c.WriteData(uint32(1+2*(sent%2)), false, make([]byte, 16<<10))
	}
	_ = c.WritePing(false, [8]byte{1})
	for taken := false; !taken; {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		ping, ok := f.(*http2.PingFrame)
		taken = ok && ping.IsAck()
	}
	_ = c.WriteData(1, false, []byte{1})
	code, _ := c.goneAway(t)
	close(release)
	if code != http2.ErrCodeFlowControl {
		t.Errorf("a byte more: %v", code)
	}
}

// TestAsksAndDoesNotRead keeps a client waiting that sends and reads nothing.
func TestAsksAndDoesNotRead(t *testing.T) {
	t.Parallel()
	p := listen(t, func(http.ResponseWriter, *http.Request) {}, Options{})
	c := dial(t, p.addr)
	_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	sent := 0
	for ; sent < 64<<20; sent += len(pings) {
		if _, err := c.Write(pings); err != nil {
			break
		}
	}
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	for conn := range p.server.conns {
		conn.mu.Lock()
		if n := len(conn.out); n > 2*mostOut+100 {
			t.Errorf("%d bytes wait for a client that does not read", n)
		}
		conn.mu.Unlock()
	}
	if sent >= 64<<20 {
		t.Error("everything was taken")
	}
	_ = c.Close()
}

// FuzzConnection sends anything.
func FuzzConnection(f *testing.F) {
	var seed bytes.Buffer
	fr := http2.NewFramer(&seed, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x83\x86\x84\x41\x01a"), EndHeaders: true})
	_ = fr.WriteData(1, true, []byte("hello"))
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte("\x82\x86\x84\x41\x01a"), EndHeaders: true, EndStream: true})
	_ = fr.WriteWindowUpdate(3, 100)
	_ = fr.WriteRSTStream(3, http2.ErrCodeCancel)
	_ = fr.WritePing(false, [8]byte{1})
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }), Options{})
		here, there := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.serve(there, bufio.NewReaderSize(there, readBuffer))
		}()
		go func() { _, _ = io.Copy(io.Discard, here) }()
		_, _ = here.Write(data)
		_ = here.Close()
		<-ended
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
