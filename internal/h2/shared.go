package h2

import (
	"bufio"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// shared is a listener whose connections are looked at: those of HTTP/2 are the Server's, Accept returns the others.
type shared struct {
	net.Listener
	server *Server
	plain  chan accepted
	closed chan struct{}
	close  func() error

	mu        sync.Mutex
	undecided map[net.Conn]struct{} // nil once it is closed
}

// accepted is what a listener has accepted.
type accepted struct {
	conn net.Conn
	err  error
}

func newShared(ln net.Listener, s *Server) *shared {
	sh := &shared{Listener: ln, server: s, plain: make(chan accepted), closed: make(chan struct{}), undecided: map[net.Conn]struct{}{}}
	sh.close = sync.OnceValue(func() error {
		err := ln.Close()
		sh.mu.Lock()
		defer sh.mu.Unlock()
		close(sh.closed)
		for conn := range sh.undecided {
			_ = conn.Close()
		}
		sh.undecided = nil
		return err
	})
	return sh
}

// accept takes connections until the listener is closed.
func (sh *shared) accept() {
	for {
		conn, err := sh.Listener.Accept()
		if err != nil {
			// net/http says what is to be done about it, and asks again after a while.
			if !sh.give(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if sh.keep(conn) {
			go sh.decide(conn)
		}
	}
}

// keep remembers a connection of which it is not known whose it is.
func (sh *shared) keep(conn net.Conn) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.undecided == nil {
		_ = conn.Close()
		return false
	}
	sh.undecided[conn] = struct{}{}
	return true
}

// decide reads a connection's beginning and serves it, or hands it on.
func (sh *shared) decide(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(sh.server.options.Begin))
	in := bufio.NewReaderSize(conn, readBuffer)
	n := 1
	for ; n <= len(http2.ClientPreface); n++ {
		b, err := in.Peek(n)
		if err != nil || b[n-1] != http2.ClientPreface[n-1] {
			break
		}
	}
	sh.mu.Lock()
	delete(sh.undecided, conn)
	sh.mu.Unlock()
	_ = conn.SetDeadline(time.Time{})
	if n > len(http2.ClientPreface) {
		_, _ = in.Discard(len(http2.ClientPreface))
		sh.server.serve(conn, in)
		return
	}
	head, _ := in.Peek(in.Buffered())
	sh.give(accepted{conn: &begun{conn, head}})
}

// give hands net/http what it accepts next.
func (sh *shared) give(a accepted) bool {
	select {
	case sh.plain <- a:
		return true
	case <-sh.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// Accept implements net.Listener.
func (sh *shared) Accept() (net.Conn, error) {
	select {
	case a := <-sh.plain:
		return a.conn, a.err
	case <-sh.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (sh *shared) Close() error { return sh.close() }

// begun is a connection whose beginning was read.
type begun struct {
	net.Conn
	head []byte
}

// Read implements net.Conn.
func (b *begun) Read(p []byte) (int, error) {
	if len(b.head) > 0 {
		n := copy(p, b.head)
		if b.head = b.head[n:]; len(b.head) == 0 {
			b.head = nil
		}
		return n, nil
	}
	return b.Conn.Read(p)
}

// CloseWrite lets net/http end a connection so that its last answer arrives.
func (b *begun) CloseWrite() error {
	if w, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}
