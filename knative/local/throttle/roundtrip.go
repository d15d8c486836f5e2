package throttle

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"weir.dev/weir/internal/hop"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/knative"
)

// RoundTrip sends the request to a replica, whatever req.URL.Host says, once there is one that may take it. The replica
// is busy with it until the answer's body is closed.
//
// A request whose replica is lost before a short answer was there, or the head of a long one, is tried on another one at
// most twice: if the replica refused the connection, or if the body can be sent again, whatever the method, as
// predictions change nothing.
// Up to 1 MiB of a body are kept for this, or its GetBody is used.
//
// The errors are knative.ErrOverloaded, ErrNotReady, ErrLost and the context's; context.DeadlineExceeded is the
// revision's timeout too.
func (t *Throttle) RoundTrip(req *http.Request) (*http.Response, error) {
	c := &call{t: t, req: req, arrived: time.Now()}
	c.cold = !t.enter()
	c.limit()
	if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		c.replay = newReplay(req.Body, req.ContentLength, &t.bodies)
	}
	resp, err := c.start()
	if err != nil {
		c.end()
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	c.stamp(resp)
	return resp, nil
}

// call is one request on its way, and then the body of its answer.
type call struct {
	t       *Throttle
	req     *http.Request
	arrived time.Time
	cold    bool
	queued  time.Duration
	replay  *replay

	ctx    context.Context
	cancel context.CancelCauseFunc // nil: the request's context ends before the timeout
	timer  *time.Timer

	held  *replica // the replica whose place is taken
	body  io.ReadCloser
	ended atomic.Bool
}

// errTimeout says that no answer began in time.
var errTimeout = fmt.Errorf("the revision did not begin to answer within its timeoutSeconds: %w", context.DeadlineExceeded)

// limit bounds the call by the revision's timeout.
func (c *call) limit() {
	c.ctx = c.req.Context()
	if deadline, ok := c.ctx.Deadline(); ok && deadline.Before(c.arrived.Add(c.t.o.Timeout)) {
		return
	}
	c.ctx, c.cancel = context.WithCancelCause(c.ctx)
	c.timer = time.AfterFunc(c.t.o.Timeout, func() { c.cancel(errTimeout) })
}

// start reads a body that is sent in one piece, and tries.
func (c *call) start() (*http.Response, error) {
	if n := c.req.ContentLength; c.replay != nil && n > 0 && n <= hop.Short && c.req.Header["Expect"] == nil {
		if err := c.replay.prefetch(); err != nil {
			return nil, err
		}
	}
	return c.try()
}

// try sends the request until there is an answer or no more attempt is due.
func (c *call) try() (*http.Response, error) {
	var failed [maxRetries]*replica
	for retries := 0; ; retries++ {
		if c.ctx.Err() != nil {
			return nil, c.ctxErr()
		}
		asked := time.Now()
		r, err := c.t.acquire(c.ctx, failed[:retries])
		c.queued += time.Since(asked)
		if err != nil {
			if c.ctx.Err() != nil {
				return nil, c.ctxErr()
			}
			return nil, err
		}
		c.held = r
		resp, err := c.send(r, retries)
		if err == nil {
			return resp, nil
		}
		c.held = nil
		c.t.release(r)
		if err = c.judge(r, err, retries); err != nil {
			return nil, err
		}
		failed[retries] = r
	}
}

// send makes one attempt.
func (c *call) send(r *replica, retries int) (*http.Response, error) {
	out := c.req.WithContext(c.ctx)
	to := new(url.URL)
	*to = *c.req.URL
	if out.Host == "" {
		out.Host = to.Host
	}
	to.Scheme, to.Host = "http", r.addr
	out.URL = to
	switch {
	case c.replay != nil:
		out.Body = c.replay.attempt()
	case retries > 0 && c.req.GetBody != nil:
		again, err := c.req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = again
	}
	resp, err := c.t.roundTrip(r, out)
	if err != nil {
		return nil, err
	}
	if c.timer != nil && !c.timer.Stop() {
		_ = resp.Body.Close()
		return nil, errTimeout
	}
	if c.replay != nil {
		c.replay.settle()
	}
	return resp, nil
}

// roundTrip sends one attempt's request, which is its own, to a replica.
func (t *Throttle) roundTrip(r *replica, out *http.Request) (resp *http.Response, err error) {
	if own, ok := t.o.Transport.(*transport); ok && r.wholeCalls && rpc.CanBeWhole(out) {
		if resp, err = own.whole(out); err == nil && resp.ContentLength <= hop.Short {
			return resp, nil // all of it is here
		}
	} else {
		resp, err = t.o.Transport.RoundTrip(out)
	}
	if err == nil && isUnary(out) {
		err = readAhead(resp)
	}
	return resp, err
}

// judge decides on an attempt that failed: nil means that the request is to be tried again.
func (c *call) judge(r *replica, err error, retries int) error {
	if c.ctx.Err() != nil {
		return c.ctxErr()
	}
	if c.replay != nil {
		if srcErr := c.replay.failure(); srcErr != nil {
			return srcErr
		}
	}
	again := broken(err) && retries < maxRetries && (c.replay == nil || !c.replay.lost.Load())
	if refused(err) {
		c.t.distrust(r)
	}
	if again && c.t.takeRetryToken() {
		return nil
	}
	return fmt.Errorf("replica %s: %w: %w", r.name, knative.ErrLost, err)
}

// ctxErr is the client's end of the call, or else the revision's timeout.
func (c *call) ctxErr() error {
	if err := c.req.Context().Err(); err != nil {
		return err
	}
	return context.Cause(c.ctx)
}

// stamp writes what happened here onto the answer and makes the call its body.
func (c *call) stamp(resp *http.Response) {
	c.t.earnRetryToken()
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	resp.Header.Set(knative.HeaderRevision, c.t.o.Revision)
	if c.cold {
		resp.Header.Set(knative.HeaderColdStart, "true")
	} else {
		resp.Header.Del(knative.HeaderColdStart)
	}
	timing := append(make([]byte, 0, 32), "queue;dur="...)
	timing = appendMillis(timing, c.queued)
	if c.cold && c.held.timing != "" {
		timing = append(append(append(timing, ", "...), c.held.timing...), ", predict;dur="...)
		timing = appendMillis(timing, time.Since(c.arrived)-c.queued)
	}
	resp.Header.Add("Server-Timing", string(timing))
	resp.Request = c.req
	c.body = resp.Body
	if w, ok := resp.Body.(io.Writer); ok {
		resp.Body = upgraded{call: c, Writer: w}
		return
	}
	resp.Body = c
}

func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d)/float64(time.Millisecond), 'f', 3, 64)
}

// end gives back what the call holds, once.
func (c *call) end() {
	if !c.ended.CompareAndSwap(false, true) {
		return
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.cancel != nil {
		c.cancel(context.Canceled)
	}
	c.t.leave(c.held)
}

// Read implements io.Reader for the answer's body.
func (c *call) Read(p []byte) (int, error) { return c.body.Read(p) }

// Close ends the answer and gives the replica's place back.
func (c *call) Close() error {
	err := c.body.Close()
	c.end()
	return err
}

// upgraded is the body of a 101 answer: the connection, both ways.
type upgraded struct {
	*call
	io.Writer
}

var _ io.ReadWriteCloser = upgraded{}
