package direct

import (
	"errors"
	"net"
	"sync"
	"time"
)

// shared is a listener that two servers accept from: net/http takes Accept's connections, grpc-go those of calls.
type shared struct {
	net.Listener
	limit       time.Duration
	plain       chan accepted
	direct      chan net.Conn
	closed      chan struct{}
	close       func() error
	mu          sync.Mutex
	undecided   map[net.Conn]struct{} // nil once it is closed
	directEnded chan struct{}
	endDirect   func()
}

// accepted is what a listener has accepted.
type accepted struct {
	conn net.Conn
	err  error
}

func newShared(ln net.Listener, limit time.Duration) *shared {
	s := &shared{
		Listener: ln, limit: limit, plain: make(chan accepted), direct: make(chan net.Conn), undecided: map[net.Conn]struct{}{},
		closed: make(chan struct{}), directEnded: make(chan struct{}),
	}
	s.close = sync.OnceValue(func() error {
		err := ln.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.closed)
		for conn := range s.undecided {
			_ = conn.Close()
		}
		s.undecided = nil
		return err
	})
	s.endDirect = sync.OnceFunc(func() { close(s.directEnded) })
	return s
}

// accept hands every connection to one of the servers, until the listener is closed.
func (s *shared) accept() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			// net/http says what is to be done about it, and asks again after a while.
			if !s.give(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if s.keep(conn) {
			go s.decide(conn)
		}
	}
}

// keep remembers a connection of which it is not known whose it is.
func (s *shared) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.undecided == nil {
		_ = conn.Close()
		return false
	}
	s.undecided[conn] = struct{}{}
	return true
}

// decide reads a connection's beginning and hands it on.
func (s *shared) decide(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(s.limit))
	whose, isCall, err := look(conn)
	s.mu.Lock()
	delete(s.undecided, conn)
	s.mu.Unlock()
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if !isCall {
		s.give(accepted{conn: whose})
		return
	}
	select {
	case s.direct <- whose:
	case <-s.directEnded:
		_ = conn.Close()
	}
}

// give hands net/http what it accepts next.
func (s *shared) give(a accepted) bool {
	select {
	case s.plain <- a:
		return true
	case <-s.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// Accept implements net.Listener for net/http.
func (s *shared) Accept() (net.Conn, error) {
	select {
	case a := <-s.plain:
		return a.conn, a.err
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *shared) Close() error { return s.close() }

// calls is the listener of grpc-go.
type calls struct{ *shared }

// Accept implements net.Listener for grpc-go.
func (c calls) Accept() (net.Conn, error) {
	select {
	case conn := <-c.direct:
		return conn, nil
	case <-c.directEnded:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: only grpc-go takes no more.
func (c calls) Close() error {
	c.endDirect()
	return nil
}
