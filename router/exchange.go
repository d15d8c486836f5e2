package router

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/router/route"
)

// exchange is what is learnt about a request on its way, for its answer, its access line and the metrics. One goroutine
// at a time uses it, but for body, which has its own rule.
type exchange struct {
	target route.Target // zero if it went to no model
	cold   bool
	phases string // of a cold start, as Server-Timing has them
	// forward is the path for the function; empty means the request's own.
	forward string
	header  http.Header // of the answer to the client
	// call says that the request is a gRPC call; answer is the model's answer to it, whose trailer says how it ended.
	call   bool
	answer *http.Response
	// event is nil unless the request is an event.
	event *eventRequest
	body  *requestBody // nil if there is none
	// err is why the backend gave no answer, answerErr why reading the answer ended.
	err, answerErr error
}

type exchangeKey struct{}

func withExchange(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, &exchange{}))
}

// exchangeOf returns the exchange that Handler put there.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// fields adds to the access line where the request went.
func fields(r *http.Request, line *zerolog.Event) {
	x := exchangeOf(r.Context())
	if x.target.Model != "" {
		if x.answer != nil {
			line.Int("rpc", rpc.Status(x.answer.Header, x.answer.Trailer))
		}
		line.Str("model", x.target.Model).Str("revision", x.target.Revision).Str("why", x.target.Why).Bool("cold", x.cold)
	}
}

func (rt *Router) observe(r *http.Request, status int, took time.Duration) {
	if x := exchangeOf(r.Context()); x.answer != nil && status == http.StatusOK {
		status = rpc.Status(x.answer.Header, x.answer.Trailer)
	}
	rt.metrics.observe(exchangeOf(r.Context()), status, took)
}

// requestBody remembers why reading a request's body failed, so that a client's fault is not taken for the replica's.
// The transport reads it in a goroutine of its own.
type requestBody struct {
	io.ReadCloser
	short   bool // see the function
	unasked atomic.Bool
	mu      sync.Mutex
	failed  error
	ended   bool // it was read to its end
}

// abandon ends a Read of a call's body that waits for the client: nobody wants more of it. (What came over HTTP/1 cannot
// be closed while it is read.)
func (b *requestBody) abandon() {
	b.unasked.Store(true)
	_ = b.Close()
}

const (
	// shortBody is how many bytes of a body are read for the connection's sake: as many as net/http itself does.
	shortBody = 256 << 10
	// drainLimit is how long the rest of a body may take to come: who waits for it is to be refused soon.
	drainLimit = 20 * time.Millisecond
)

// Read holds the lock, so that err waits for a Read that has failed and not said so yet.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended = true
	case err != nil && b.failed == nil && !b.unasked.Load() && !errors.Is(err, http.ErrBodyReadAfterClose):
		b.failed = err
	}
	return n, err
}

// short says whether what nobody has read of a body is worth reading, so that the connection can be kept. Over HTTP/2 a connection is
// kept anyhow; what a client only sends when told to (Expect) would be asked for by reading.
func short(r *http.Request) bool {
	return r.ProtoMajor == 1 && r.ContentLength >= 0 && r.ContentLength <= shortBody && r.Header.Get("Expect") == ""
}

// drained reads what is left of a short body, as long as that comes at once, and reports whether the body was read to its
// end. Nothing is reported of a Read that is still on its way.
func (b *requestBody) drained(rc *http.ResponseController, buffers httputil.BufferPool) bool {
	if b == nil {
		return true
	}
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	if b.ended || !b.short || b.failed != nil || rc.SetReadDeadline(time.Now().Add(drainLimit)) != nil {
		return b.ended
	}
	// A photo is 100 KB: io.Discard would read it in pieces of 8.
	buf := buffers.Get()
	defer buffers.Put(buf)
	var err error
	for err == nil {
		_, err = b.ReadCloser.Read(buf)
	}
	if b.ended = err == io.EOF; b.ended {
		// The server goes on reading, to see whether the client leaves: it must not take this deadline for that.
		_ = rc.SetReadDeadline(time.Time{})
	}
	return b.ended
}

// err returns the first failure, nil if there was none or no body. It is called after Close or the context's end, so
// no Read blocks it for long.
func (b *requestBody) err() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// answerBody remembers why reading a replica's answer failed.
type answerBody struct {
	io.ReadCloser
	x *exchange
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.x.answerErr = err
		if b.x.call && b.x.body != nil {
			// The transport is done with the answer only when it has stopped reading the request, and ReverseProxy keeps
			// the transport from closing that.
			b.x.body.abandon()
		}
	}
	return n, err
}
