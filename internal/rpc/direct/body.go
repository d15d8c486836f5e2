package direct

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"weir.dev/weir/internal/rpc"
)

// body is the body of a call: its messages, decompressed, each after its prefix.
type body struct {
	stream   grpc.ServerStream
	cancel   context.CancelCauseFunc
	limit    int64
	deadline time.Time
	rest     []byte
}

// Next implements rpc.Messages.
func (b *body) Next() ([]byte, error) {
	if !b.deadline.IsZero() {
		late := time.AfterFunc(time.Until(b.deadline), func() { b.cancel(os.ErrDeadlineExceeded) })
		defer late.Stop()
	}
	var message []byte
	err := b.stream.RecvMsg(&message)
	if err == nil || errors.Is(err, io.EOF) {
		return message, err
	}
	// grpc-go has told the client already: what is returned is for the access line and the metrics.
	ctx := b.stream.Context()
	switch {
	case errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded):
		return nil, os.ErrDeadlineExceeded
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case status.Code(err) == codes.ResourceExhausted:
		return nil, &http.MaxBytesError{Limit: b.limit}
	}
	return nil, rpc.Malformed(status.Convert(err).Message())
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		message, err := b.Next()
		if err != nil {
			return 0, err
		}
		b.rest = append(binary.BigEndian.AppendUint32(make([]byte, 1, rpc.Prefix+len(message)), uint32(len(message))), message...)
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer. What is left of a call ends with it.
func (*body) Close() error { return nil }
