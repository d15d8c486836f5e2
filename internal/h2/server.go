// Package h2 serves HTTP/2 without encryption to clients that send many small requests, as those of gRPC do.
//
// net/http passes each frame from goroutine to goroutine: one reads, one decides, one writes, one answers. Here the goroutine
// that reads a connection decides, too; a request whose body came with it is handed on whole; and what several answers have
// to say goes out in one write. The frames and their header fields are golang.org/x/net/http2's.
package h2

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"weir.dev/weir/internal/server"
)

// Options of a Server. The zero value works.
type Options struct {
	// Begin bounds the time in which a connection says what it is, and that for a request's header. If zero, 10 s.
	Begin time.Duration
	// Idle bounds how long a connection waits for its next request. If zero, 120 s.
	Idle time.Duration
}

const (
	// maxStreams is how many requests a connection has at a time, as in net/http.
	maxStreams = 250
	// maxHeader bounds a request's header, as in package server.
	maxHeader = 64 << 10
	// mostHeader is how much of a longer one is read, to say that it is too long: what is longer still ends the connection.
	mostHeader = 256 << 10
	// window is what a client may send before anybody has read it, on a connection and on each of its streams, as in net/http.
	window = 1 << 20
	// maxFrame bounds a frame. Clients in Python copy what is left of a body for each frame: 30 MB in frames of 16 KiB, the least
	// that may be, take httpx seven seconds.
	maxFrame = window / 4
	// keepWorker is for how long a goroutine answers requests, one after the other: it has the stack that they need.
	keepWorker = 10 * time.Second
)

// Server takes the connections of HTTP/2 clients off a listener and answers their requests. It is a server.Beside.
type Server struct {
	handler http.Handler
	options Options
	base    context.Context
	cut     context.CancelFunc
	work    chan *stream
	stop    chan struct{} // closed when the workers are to end

	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool
	ended    chan struct{} // closed when there are no more of them
}

// New makes a Server that answers requests by h.
func New(h http.Handler, o Options) *Server {
	if o.Begin == 0 {
		o.Begin = 10 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = 120 * time.Second
	}
	s := &Server{handler: h, options: o, conns: map[*conn]struct{}{}, work: make(chan *stream), stop: make(chan struct{}), ended: make(chan struct{})}
	// A ReverseProxy whose answer breaks off panics for a server only: who called it sees that.
	s.base, s.cut = context.WithCancel(context.WithValue(context.Background(), http.ServerContextKey, &http.Server{}))
	return s
}

// Share takes connections from ln and returns the listener of those that speak HTTP/1.1.
func (s *Server) Share(ln net.Listener) net.Listener {
	return server.Split(ln, s.options.Begin, s.look)
}

// serve serves a connection after its preface, until it ends.
func (s *Server) serve(nc net.Conn, in *bufio.Reader) {
	c := newConn(s, nc, in)
	if !s.keep(c) {
		_ = nc.Close()
		return
	}
	defer s.drop(c)
	c.serve()
}

// keep remembers a connection, unless the server has ended.
func (s *Server) keep(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining && len(s.conns) == 0 {
		return false
	}
	s.conns[c] = struct{}{}
	if s.draining {
		c.drain()
	}
	return true
}

func (s *Server) drop(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.draining && len(s.conns) == 0 {
		close(s.ended)
	}
}

// Shutdown takes no new requests, waits for those that run, and cuts them off when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for c := range s.conns {
		c.drain()
	}
	if len(s.conns) == 0 {
		close(s.ended)
	}
	s.mu.Unlock()
	defer func() { close(s.stop); s.cut() }()
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.fail(errServerEnds)
	}
	s.mu.Unlock()
	return fmt.Errorf("drain HTTP/2: %w", ctx.Err())
}

// run has a stream's request answered.
func (s *Server) run(st *stream) {
	select {
	case s.work <- st:
	default:
		go s.worker(st)
	}
}

// worker answers a request, and then others.
func (s *Server) worker(st *stream) {
	st.answer()
	late := time.NewTimer(keepWorker)
	defer late.Stop()
	for {
		select {
		case st = <-s.work:
			st.answer()
		case <-late.C:
			return
		case <-s.stop:
			return
		}
	}
}
