package direct

import (
	"net"
	"sync"
)

// calls is the listener of grpc-go: of the connections of gRPC clients.
type calls struct {
	addr  net.Addr
	conns chan net.Conn
	ended chan struct{}
	end   func()
}

func newCalls(addr net.Addr) *calls {
	c := &calls{addr: addr, conns: make(chan net.Conn), ended: make(chan struct{})}
	c.end = sync.OnceFunc(func() { close(c.ended) })
	return c
}

// look says whether a connection is a gRPC client's, for server.Split.
func (c *calls) look(conn net.Conn) (net.Conn, func(net.Conn), error) {
	whose, isCall, err := look(conn)
	if !isCall {
		return whose, nil, err
	}
	return whose, c.take, err
}

// take hands grpc-go what it accepts next.
func (c *calls) take(conn net.Conn) {
	select {
	case c.conns <- conn:
	case <-c.ended:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (c *calls) Accept() (net.Conn, error) {
	select {
	case conn := <-c.conns:
		return conn, nil
	case <-c.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: only grpc-go takes no more.
func (c *calls) Close() error {
	c.end()
	return nil
}

// Addr implements net.Listener.
func (c *calls) Addr() net.Addr { return c.addr }
