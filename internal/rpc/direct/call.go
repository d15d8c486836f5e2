package direct

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// call is what is known of a call before its handler runs.
type call struct {
	path   string
	header metadata.MD
	// cancel ends the call's context: the only way to end a read that waits for the client.
	cancel context.CancelCauseFunc
}

type callKey struct{}

// begin is told of each call by grpc-go.
func begin(ctx context.Context, info *tap.Info) (context.Context, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	return context.WithValue(limited{ctx}, callKey{}, &call{path: info.FullMethodName, header: info.Header, cancel: cancel}), nil
}

// limited is the context of a call. It says that a deadline is over when that of a read is; when the call's own is, too: grpc-go
// cancels the context then, sometimes before it ends by itself.
type limited struct{ context.Context }

// Err implements context.Context.
func (c limited) Err() error {
	err := c.Context.Err()
	if err == nil {
		return nil
	}
	deadline, ok := c.Deadline()
	if ok && !time.Now().Before(deadline) || errors.Is(context.Cause(c.Context), os.ErrDeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}

// serve answers a call by the handler.
func (s *Server) serve(_ any, stream grpc.ServerStream) (err error) {
	ctx := stream.Context()
	c := ctx.Value(callKey{}).(*call)
	defer c.cancel(nil)
	b := &body{stream: stream, cancel: c.cancel, limit: s.options.Message}
	w := &writer{stream: stream, header: make(http.Header), body: b}
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				grpclog.Errorf("panic in %s: %v\n%s", c.path, p, debug.Stack())
			}
			err = status.Error(codes.Internal, "the answer was broken off")
		}
	}()
	s.handler.ServeHTTP(w, c.request(ctx, b))
	return w.end()
}

// request is the call as net/http has it.
func (c *call) request(ctx context.Context, b *body) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, Proto: "HTTP/2.0", ProtoMajor: 2, URL: &url.URL{Path: c.path}, RequestURI: c.path,
		Header: make(http.Header, len(c.header)), Body: b, ContentLength: -1,
	}
	for name, values := range c.header {
		if name == ":authority" {
			r.Host = values[0]
			continue
		}
		r.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	if p, ok := peer.FromContext(ctx); ok {
		r.RemoteAddr = p.Addr.String()
	}
	return r.WithContext(ctx)
}

// codec lets messages pass as they are: the handlers read and write them.
type codec struct{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("direct: a message is %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(message)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("direct: a message is %T", v)
	}
	*message = data.Materialize()
	return nil
}
