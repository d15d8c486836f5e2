package node

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"weir.dev/weir/internal/soon"
)

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// listenLocal is a listener on a free port.
func listenLocal(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// A client may end its half and read on; when the forwarder ends, so do the connections that are left.
func TestForward(t *testing.T) {
	server := listenLocal(t)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				data, _ := io.ReadAll(conn) // until the client's half ends
				_, _ = conn.Write(append([]byte("got "), data...))
				conn.Close()
			}()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	ln := listenLocal(t)
	ended := make(chan error, 1)
	go func() { ended <- forward(ctx, ln, server.Addr().String()) }()

	dial := func() *net.TCPConn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn.(*net.TCPConn)
	}
	conn := dial()
	if _, err := conn.Write([]byte("all")); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != "got all" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	open := dial()
	if _, err := open.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := soon.Next(t, "the forwarder's end", ended); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(open); err != nil && !isReset(err) {
		t.Error(err)
	}
}

// A target that is not there ends that connection and nothing else.
func TestForwardWithoutTarget(t *testing.T) {
	gone := listenLocal(t)
	gone.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ln := listenLocal(t)
	ended := make(chan error, 1)
	go func() { ended <- forward(ctx, ln, gone.Addr().String()) }()
	for range 2 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil && !isReset(err) {
			t.Errorf("%q, %v", got, err)
		}
		conn.Close()
	}
	cancel()
	if err := soon.Next(t, "the forwarder's end", ended); err != nil {
		t.Error(err)
	}
}
