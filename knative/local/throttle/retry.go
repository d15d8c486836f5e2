package throttle

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"golang.org/x/net/http2"
)

// A request is tried at most this often again.
const maxRetries = 2

// The retry budget is a bucket of tokens, as in gRPC's retry throttling: a retry takes one, an answer gives a tenth. A
// lost replica's requests can all be tried again; when everything fails, retries stop instead of multiplying the load.
const (
	maxRetryTokens     = 128
	retryTokensPerGood = 0.1
)

func (t *Throttle) takeRetryToken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

func (t *Throttle) earnRetryToken() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokens = min(t.tokens+retryTokensPerGood, maxRetryTokens)
}

// refused says that the error came before a connection to the replica was there.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// broken says that the connection to the replica, or the stream on it, ended before what is waited for of an answer was there.
func broken(err error) bool {
	var op *net.OpError
	var stream http2.StreamError // net/http has a type of its own, which fills this one
	return errors.As(err, &op) || errors.As(err, &stream) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		// net/http does not export this one: a kept connection was closed as the request was about to be sent.
		strings.Contains(err.Error(), "server closed idle connection")
}
