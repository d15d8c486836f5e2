package h2

import (
	"bufio"
	"net"

	"golang.org/x/net/http2"
)

// look says whether a connection speaks HTTP/2, for server.Split. What cannot be read is for net/http to deal with.
func (s *Server) look(conn net.Conn) (net.Conn, func(net.Conn), error) {
	in := bufio.NewReaderSize(conn, readBuffer)
	if !isPreface(in) {
		head, _ := in.Peek(in.Buffered())
		return &begun{conn, head}, nil, nil
	}
	_, _ = in.Discard(len(http2.ClientPreface))
	return conn, func(nc net.Conn) { s.serve(nc, in) }, nil
}

// isPreface says whether HTTP/2's preface comes. It waits for no more than what tells.
func isPreface(in *bufio.Reader) bool {
	for n := 1; n <= len(http2.ClientPreface); n++ {
		if b, err := in.Peek(n); err != nil || b[n-1] != http2.ClientPreface[n-1] {
			return false
		}
	}
	return true
}

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
