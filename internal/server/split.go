package server

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Look reads the beginning of a connection and says whose it is: serve's, which gets whose, or that of the server that shares the
// port, if serve is nil. After an error the connection is closed. Deadlines are Split's.
type Look func(conn net.Conn) (whose net.Conn, serve func(net.Conn), err error)

// Split has two servers share a port, for a Beside: it takes connections from ln, and the listener that it returns accepts those that
// look leaves. Each is looked at in a goroutine of its own, for limit at most. Closing that listener closes ln and what is undecided.
func Split(ln net.Listener, limit time.Duration, look Look) net.Listener {
	s := &split{
		Listener: ln, limit: limit, look: look, left: make(chan accepted), closed: make(chan struct{}), undecided: map[net.Conn]struct{}{},
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
	go s.accept()
	return s
}

// split is the listener of what is left.
type split struct {
	net.Listener
	limit  time.Duration
	look   Look
	left   chan accepted
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

// accept takes connections until the listener is closed.
func (s *split) accept() {
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
func (s *split) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.undecided == nil {
		_ = conn.Close()
		return false
	}
	s.undecided[conn] = struct{}{}
	return true
}

// decide looks at a connection and hands it on.
func (s *split) decide(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(s.limit))
	whose, serve, err := s.look(conn)
	s.mu.Lock()
	delete(s.undecided, conn)
	s.mu.Unlock()
	if err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if serve != nil {
		serve(whose)
		return
	}
	s.give(accepted{conn: whose})
}

// give hands on what is accepted next.
func (s *split) give(a accepted) bool {
	select {
	case s.left <- a:
		return true
	case <-s.closed:
		if a.conn != nil {
			_ = a.conn.Close()
		}
		return false
	}
}

// Accept implements net.Listener.
func (s *split) Accept() (net.Conn, error) {
	select {
	case a := <-s.left:
		return a.conn, a.err
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *split) Close() error { return s.close() }
