// Package direct serves gRPC clients by grpc-go's HTTP/2 and weir's own handlers: half of what a call costs over net/http's.
//
// grpc-go answers nothing but gRPC, and which request comes next on a connection nobody knows: a proxy may send REST and gRPC
// on one. So a connection is grpc-go's only if its first request says that a gRPC client sent it and no proxy. Every other one
// stays with net/http, which answers the same calls by the same handlers.
package direct

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // what clients may compress with
	"google.golang.org/grpc/keepalive"

	"weir.dev/weir/internal/server"
)

// Options of a Server. The zero value works.
type Options struct {
	// Message bounds a message in bytes, before and after decompression. If zero, 32 MiB.
	Message int64
	// Begin bounds the time in which a connection says what it is. If zero, 10 s.
	Begin time.Duration
	// Idle bounds how long a connection waits for its next call. If zero, 120 s.
	Idle time.Duration
}

// Server takes the connections of gRPC clients off a listener and answers their calls. It is a server.Beside.
type Server struct {
	handler http.Handler
	options Options
	grpc    *grpc.Server
}

const (
	// maxStreams is how many calls a connection has at a time, as in net/http.
	maxStreams = 250
	// maxHeader bounds a call's header, as in package server.
	maxHeader = 64 << 10
	// window is what a client may send before anybody has read it, as in net/http. A fixed one spares the pings that would measure one.
	window = 1 << 20
	// minPing is how often a client may ask whether the server is there: grpc-go's own 5 minutes would close many a client's connection.
	minPing = time.Second
	// workers keep the stacks that calls have grown. Calls beyond them get goroutines of their own.
	workers = 32
)

// New makes a Server that answers calls by h, which gets them as requests over HTTP/2.
func New(h http.Handler, o Options) *Server {
	if o.Message == 0 {
		o.Message = 32 << 20
	}
	if o.Begin == 0 {
		o.Begin = 10 * time.Second
	}
	if o.Idle == 0 {
		o.Idle = 120 * time.Second
	}
	s := &Server{handler: h, options: o}
	s.grpc = grpc.NewServer(
		grpc.UnknownServiceHandler(s.serve), grpc.InTapHandle(begin), grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(int(min(o.Message, math.MaxInt32))), grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.MaxConcurrentStreams(maxStreams), grpc.MaxHeaderListSize(maxHeader),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: o.Idle}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(workers),
	)
	return s
}

// Share takes connections from ln and returns the listener of those that are not the Server's.
func (s *Server) Share(ln net.Listener) net.Listener {
	c := newCalls(ln.Addr())
	go func() { _ = s.grpc.Serve(c) }() // ends with Shutdown
	return server.Split(ln, s.options.Begin, c.look)
}

// Shutdown takes no new calls, waits for those that run, and cuts them off when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
	}
	s.grpc.Stop()
	return fmt.Errorf("drain gRPC calls: %w", ctx.Err())
}
