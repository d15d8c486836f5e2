package h2

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// readBuffer is what is read of a connection at a time.
	readBuffer = 32 << 10
	// frameHead is how long the head of a frame is (RFC 9113, section 4.1).
	frameHead = 9
	// mostOut is how much waits to be written before bodies wait, and twice as much is it before nothing more is read: a client
	// that asks and does not read is kept waiting, too.
	mostOut = 256 << 10
	// linger is how long a connection that ends may still be read, so that its last frames arrive.
	linger = time.Second
	// headWait is up to how much of a body is waited for before its request is handed on, if it comes at once.
	headWait = 64 << 10
)

var (
	errReset      = errors.New("the client gave the request up")
	errGone       = errors.New("the client has left")
	errServerEnds = errors.New("the server ends")
)

// conn is a connection.
type conn struct {
	s      *Server
	nc     net.Conn
	in     *bufio.Reader
	fr     *http2.Framer
	ctx    context.Context
	cancel context.CancelFunc
	idle   *time.Timer
	inflow inflow
	wake   chan struct{}
	closed chan struct{}

	// The reader's. Others read last with the lock.
	last    uint32 // the client's newest stream
	waiting []*stream
	canon   names

	mu        sync.Mutex
	room      sync.Cond // there may be more to send
	out       output
	spare     []byte
	writing   bool
	enc       *hpack.Encoder
	block     output
	lower     names
	streams   map[uint32]*stream
	running   int // handlers
	refused   int
	window    int64 // what may be sent
	initial   int64 // of a new stream
	maxFrame  int
	idleSince time.Time
	drained   bool   // the client was told that it ends
	final     uint32 // the last stream that is answered; 0 before that was said
	isFinal   bool
	ending    bool // it is closed when all is written
	shut      bool // nothing is written any more
	err       error
	handlers  sync.WaitGroup
}

// output is memory that is written to.
type output []byte

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	*o = append(*o, p...)
	return len(p), nil
}

// inflow is what the client may send, on a connection or a stream.
type inflow struct{ left, read atomic.Int64 }

// take says whether the client was allowed to send n bytes.
func (f *inflow) take(n int) bool { return f.left.Add(int64(-n)) >= 0 }

// give says how much the client is to be told that it may send again, now that n bytes more were read: often nothing.
func (f *inflow) give(n int) uint32 {
	if f.read.Add(int64(n)) < window/4 {
		return 0
	}
	n64 := f.read.Swap(0)
	f.left.Add(n64)
	return uint32(n64)
}

func newConn(s *Server, nc net.Conn, in *bufio.Reader) *conn {
	c := &conn{
		s: s, nc: nc, in: in, wake: make(chan struct{}, 1), closed: make(chan struct{}), canon: names{}, lower: names{},
		streams: map[uint32]*stream{}, window: 65535, initial: 65535, maxFrame: 16 << 10, idleSince: time.Now(),
	}
	c.room.L = &c.mu
	c.ctx, c.cancel = context.WithCancel(context.WithValue(s.base, http.LocalAddrContextKey, nc.LocalAddr()))
	c.fr = http2.NewFramer(&c.out, in)
	c.fr.SetReuseFrames()
	c.fr.SetMaxReadFrameSize(maxFrame)
	c.fr.MaxHeaderListSize = mostHeader
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	c.inflow.left.Store(window)
	_ = c.fr.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeader},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: maxFrame},
	)
	_ = c.fr.WriteWindowUpdate(0, window-65535)
	return c
}

// serve reads the connection to its end.
func (c *conn) serve() {
	c.idle = time.AfterFunc(c.s.options.Idle, c.checkIdle)
	defer c.idle.Stop()
	go c.writer()
	c.flush()
	err := c.read()
	c.abandon()
	if errors.Is(err, http2.ErrFrameTooLarge) {
		err = http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	if broken, ok := errors.AsType[http2.ConnectionError](err); ok {
		c.mu.Lock()
		_ = c.fr.WriteGoAway(c.last, http2.ErrCode(broken), nil)
		c.ending = true
		c.mu.Unlock()
		c.cutStreams(err)
		c.flush()
		_, _ = io.Copy(io.Discard, c.nc)
	}
	c.fail(errGone)
	c.cutStreams(errGone) // what began since somebody else found that the connection is no more
	c.handlers.Wait()
}

// read reads frames until there are no more.
func (c *conn) read() error {
	if f, err := c.next(); err != nil {
		return err
	} else if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	} else if err := c.settings(s); err != nil {
		return err
	}
	for {
		f, err := c.next()
		if err == nil {
			err = c.take(f)
		}
		if broken, ok := errors.AsType[http2.StreamError](err); ok {
			c.reset(broken.StreamID, broken.Code)
			continue
		}
		if err != nil {
			return err
		}
	}
}

// next reads a frame. Before it waits for one, what came is dealt with.
func (c *conn) next() (http2.Frame, error) {
	if err := c.mayRead(); err != nil {
		return nil, err
	}
	if there := c.in.Buffered(); there >= frameHead {
		head, _ := c.in.Peek(frameHead)
		kind, flags, n := http2.FrameType(head[3]), http2.Flags(head[4]), int(head[0])<<16|int(head[1])<<8|int(head[2])
		if frameHead+n <= there && (kind != http2.FrameHeaders || flags.Has(http2.FlagHeadersEndHeaders)) {
			return c.fr.ReadFrame()
		}
	}
	c.startAll()
	c.flush()
	head, err := c.in.Peek(frameHead)
	if err != nil {
		return nil, err
	}
	if http2.FrameType(head[3]) == http2.FrameData {
		// The request bounds how long it waits for its body.
		return c.fr.ReadFrame()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.s.options.Begin))
	f, err := c.fr.ReadFrame()
	_ = c.nc.SetReadDeadline(time.Time{})
	return f, err
}

// mayRead waits while too much is there that the client has not read.
func (c *conn) mayRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 2*mostOut && c.err == nil {
		c.wakeWriter()
		c.room.Wait()
	}
	return c.err
}

// take deals with a frame.
func (c *conn) take(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.takeHeaders(f)
	case *http2.DataFrame:
		return c.takeData(f)
	case *http2.WindowUpdateFrame:
		return c.takeWindow(f)
	case *http2.RSTStreamFrame:
		if f.StreamID > c.last {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.drop(f.StreamID, errReset)
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return c.settings(f)
		}
	case *http2.PingFrame:
		if f.IsAck() {
			if f.Data == drainPing {
				c.finalGoAway()
			}
			return nil
		}
		return c.control(func() error { return c.fr.WritePing(true, f.Data) })
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.GoAwayFrame:
		c.drain()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// control writes a frame that is no answer. It goes out before the next frame is waited for.
func (c *conn) control(write func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return write()
}

// settings takes what the client says about itself.
func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.NumSettings() > mostSettings {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return c.control(func() error {
		if err := f.ForeachSetting(c.setting); err != nil {
			return err
		}
		c.room.Broadcast()
		return c.fr.WriteSettingsAck()
	})
}

func (c *conn) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.SetMaxDynamicTableSize(min(s.Val, 4096))
	case http2.SettingInitialWindowSize:
		more := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, st := range c.streams {
			if st.window += more; st.window > maxWindow {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
		}
	case http2.SettingMaxFrameSize:
		c.maxFrame = int(min(s.Val, 64<<10))
	}
	return nil
}

// mostSettings is how many settings a client may have, as in net/http.
const mostSettings = 100

// maxWindow bounds a window (RFC 9113, section 6.9.1).
const maxWindow = 1<<31 - 1

func (c *conn) takeWindow(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.room.Broadcast()
		return nil
	}
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st := c.streams[f.StreamID]; st != nil {
		if st.window += int64(f.Increment); st.window > maxWindow {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
		}
		c.room.Broadcast()
	}
	return nil
}

func (c *conn) takeData(f *http2.DataFrame) error {
	if f.StreamID > c.last {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	n := int(f.Length)
	if !c.inflow.take(n) {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.mu.Lock()
	st := c.streams[f.StreamID]
	c.mu.Unlock()
	if st == nil || st.remoteEnded {
		c.regain(n)
		if st == nil && c.isIgnored(f.StreamID) {
			return nil
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	return st.takeData(f, n)
}

// regain gives the client n bytes of the connection's window back.
func (c *conn) regain(n int) {
	if more := c.inflow.give(n); more > 0 {
		c.mu.Lock()
		_ = c.fr.WriteWindowUpdate(0, more)
		c.mu.Unlock()
	}
}

// isIgnored says whether a stream is one that the client may still send for without knowing better.
func (c *conn) isIgnored(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isFinal && id > c.final
}
