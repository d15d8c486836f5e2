// Package server is what weir's HTTP servers share: handlers that return errors, one answer and one access line a
// request, limits, and an end that drains. It knows no protocol.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Limits of a server. The zero value works.
type Limits struct {
	// ReadHeader bounds the time for a request's header. If zero, 10 s.
	ReadHeader time.Duration
	// Idle bounds how long a connection waits for its next request. If zero, 120 s.
	Idle time.Duration
	// Drain bounds how long requests that run may go on after the end was asked for. If zero, 30 s.
	Drain time.Duration
}

// Beside is a server that takes some of a port's connections.
type Beside interface {
	// Share takes connections from ln and returns the listener of all others. Closing that one closes ln.
	Share(ln net.Listener) net.Listener
	// Shutdown takes no new requests, waits for those that run, and cuts them off when ctx ends, which is an error.
	Shutdown(ctx context.Context) error
}

// Run serves h on ln until ctx ends, then takes no new requests, waits for those that run and returns. HTTP/1.1 and
// unencrypted HTTP/2 share the port. An error to drain in time is returned after the rest was cut off.
func Run(ctx context.Context, ln net.Listener, h http.Handler, l Limits) error {
	return RunBeside(ctx, ln, h, l, nobody{})
}

// RunBeside is Run with another server on the same port.
func RunBeside(ctx context.Context, ln net.Listener, h http.Handler, l Limits, beside Beside) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: or(l.ReadHeader, 10*time.Second),
		IdleTimeout:       or(l.Idle, 120*time.Second),
		MaxHeaderBytes:    64 << 10,
		Protocols:         new(http.Protocols),
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	shared := beside.Share(ln)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(shared) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), or(l.Drain, 30*time.Second))
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- beside.Shutdown(drain) }()
	err := srv.Shutdown(drain)
	if err != nil {
		err = errors.Join(fmt.Errorf("drain %s: %w", ln.Addr(), err), srv.Close())
	}
	return errors.Join(err, <-drained)
}

// nobody is the Beside of who has the port alone.
type nobody struct{}

func (nobody) Share(ln net.Listener) net.Listener { return ln }

func (nobody) Shutdown(context.Context) error { return nil }

func or(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
