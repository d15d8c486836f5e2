package hop

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxHead bounds the header of an answer.
const maxHead = 1 << 20

// conn is a connection that one request uses at a time.
type conn struct {
	net.Conn
	host  string
	in    *bufio.Reader
	room  int // how much of a header may still come; below zero while a body is read
	since time.Time
	stop  func() // interrupt

	raw  syscall.RawConn // nil if there is none
	look func(fd uintptr)
	open bool    // what look saw
	byte [1]byte // what it reads
}

func newConn(nc net.Conn, host string, read int) (*conn, error) {
	c := &conn{Conn: nc, host: host}
	c.in = bufio.NewReaderSize(c, read)
	c.stop, c.look = c.interrupt, c.peek
	if sc, ok := nc.(syscall.Conn); ok {
		var err error
		if c.raw, err = sc.SyscallConn(); err != nil {
			return nil, errors.Join(err, nc.Close())
		}
	}
	return c, nil
}

var errHead = errors.New("the answer's header is over 1 MiB")

// Read reads from the connection, no more than a header may have while one is read.
func (c *conn) Read(p []byte) (int, error) {
	if c.room == 0 {
		return 0, errHead
	}
	if c.room > 0 {
		p = p[:min(len(p), c.room)]
	}
	n, err := c.Conn.Read(p)
	if c.room > 0 {
		c.room -= n
	}
	return n, err
}

func (c *conn) readHead(req *http.Request) (*http.Response, error) {
	c.room = maxHead
	resp, err := http.ReadResponse(c.in, req)
	c.room = -1
	return resp, err
}

// interrupt ends what the connection does, for good.
func (c *conn) interrupt() { _ = c.SetDeadline(time.Unix(1, 0)) }

// pool keeps the connections that no request uses.
type pool struct {
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	perHost int
	keep    time.Duration
	read    int       // bytes of a connection's buffer
	buffers sync.Pool // of *[bufferSize]byte, for long bodies

	mu   sync.Mutex
	idle map[string][]*conn // by host, the one used last at the end
	tidy *time.Timer        // not nil while a connection is idle
	shut bool               // close was called, and no request since
}

const bufferSize = 128 << 10

func (p *pool) buffer() *[bufferSize]byte {
	if b, ok := p.buffers.Get().(*[bufferSize]byte); ok {
		return b
	}
	return new([bufferSize]byte)
}

// take returns a connection to host, and whether it is one that was kept.
func (p *pool) take(ctx context.Context, host string) (c *conn, kept bool, err error) {
	for c := p.last(host); c != nil; c = p.last(host) {
		if c.isOpen() {
			return c, true, nil
		}
		_ = c.Close()
	}
	nc, err := p.dial(ctx, "tcp", address(host))
	if err != nil {
		return nil, false, err
	}
	c, err = newConn(nc, host, p.read)
	return c, false, err
}

// address is where a URL's host is dialled.
func address(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "80")
}

func (p *pool) last(host string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = false
	conns := p.idle[host]
	if len(conns) == 0 {
		return nil
	}
	c := conns[len(conns)-1]
	p.idle[host] = conns[:len(conns)-1]
	return c
}

func (p *pool) put(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut || len(p.idle[c.host]) >= p.perHost {
		_ = c.Close()
		return
	}
	if p.idle == nil {
		p.idle = map[string][]*conn{}
	}
	p.idle[c.host] = append(p.idle[c.host], c)
	if p.tidy == nil {
		p.tidy = time.AfterFunc(p.keep, p.closeOld)
	}
}

// closeOld closes what was idle for too long.
func (p *pool) closeOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeBefore(time.Now().Add(-p.keep))
	p.tidy = nil
	if len(p.idle) > 0 {
		p.tidy = time.AfterFunc(p.keep, p.closeOld)
	}
}

// close closes all that is idle.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	p.closeBefore(time.Now())
	if p.tidy != nil {
		p.tidy.Stop()
		p.tidy = nil
	}
}

func (p *pool) closeBefore(t time.Time) {
	for host, conns := range p.idle {
		old := 0
		for old < len(conns) && !conns[old].since.After(t) {
			_ = conns[old].Close()
			old++
		}
		if p.idle[host] = conns[old:]; old == len(conns) {
			delete(p.idle, host)
		}
	}
}
