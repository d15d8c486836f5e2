package node

import (
	"context"
	"errors"
	"io"
	"net"

	"golang.org/x/sync/errgroup"
)

// forward leads every connection to target until ctx ends; then it closes those that are left.
func forward(ctx context.Context, ln net.Listener, target string) error {
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	var g errgroup.Group
	for {
		conn, err := ln.Accept()
		if err != nil {
			err = errors.Join(err, g.Wait())
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		g.Go(func() error {
			// A connection's errors are its two ends' to see.
			_ = pipe(ctx, conn, target)
			return nil
		})
	}
}

// pipe joins a connection with a new one to target. It passes the end of each direction on by itself: a client may
// send all and then read.
func pipe(ctx context.Context, client net.Conn, target string) error {
	defer client.Close()
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return err
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		client.Close()
		server.Close()
	})
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return copyHalf(server, client) })
	g.Go(func() error { return copyHalf(client, server) })
	return g.Wait()
}

func copyHalf(dst, src net.Conn) error {
	_, err := io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok {
		return errors.Join(err, half.CloseWrite())
	}
	return err
}
