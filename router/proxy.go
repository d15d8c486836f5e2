package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"time"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

// readGrace is how much longer than a request's deadline its body is waited for, so that the context ends first: a server
// takes a connection that cannot be read any more for a client that has left.
const readGrace = 10 * time.Millisecond

// writeGrace is how much longer than its deadline a request may take to be told of it.
const writeGrace = 5 * time.Second

// newProxy makes the proxy that all requests to models share. What it needs to know about one is in its exchange.
// Answers of unknown length, event streams and HTTP/2 are flushed as they come (httputil.ReverseProxy.FlushInterval).
func (rt *Router) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rt.rewrite,
		ModifyResponse: answered,
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			exchangeOf(r.Context()).err = err
		},
		Transport:  rt.backend,
		BufferPool: &buffers{},
		// What it would log is in answerBody.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

func (rt *Router) rewrite(p *httputil.ProxyRequest) {
	x := exchangeOf(p.In.Context())
	u := p.Out.URL
	u.Scheme, u.Host, u.RawQuery = "http", x.target.Revision, p.In.URL.RawQuery
	if x.forward != "" {
		u.Path, u.RawPath = x.forward, ""
	}
	// The server fills it in when the body ends, so a copy made before would stay empty.
	p.Out.Trailer = p.In.Trailer
	// The length is not sent from here. Without it the headers of most clients and the router's are eight, and a map of more is
	// made anew.
	delete(p.Out.Header, "Content-Length")
	if rt.trust {
		p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
	}
	p.SetXForwarded()
	if rt.trust {
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v, ok := p.In.Header[name]; ok {
				p.Out.Header[name] = v
			}
		}
	}
}

// answered notes what the backend says about the answer.
func answered(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	x.cold = res.Header.Get(knative.HeaderColdStart) == "true"
	if x.call {
		x.answer = res
	}
	if x.cold {
		x.phases = res.Header.Get("Server-Timing")
	}
	// The router has set its own, which are the same ones.
	res.Header.Del(knative.HeaderRevision)
	res.Header.Del(server.HeaderRequestID)
	if x.header[server.HeaderRequestID] == nil {
		// An interim answer, as to "Expect: 100-continue", took all with it that was set before (httputil.ReverseProxy).
		x.header.Set(knative.HeaderRevision, x.target.Revision)
		x.header[server.HeaderRequestID] = res.Request.Header[server.HeaderRequestID]
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		res.Body = &answerBody{res.Body, x}
	}
	return nil
}

// admit bounds a request for a model in time and size. The caller calls the returned function at the end.
func (rt *Router) admit(w http.ResponseWriter, r *http.Request, x *exchange) (*http.Request, context.CancelFunc, error) {
	d, err := rt.limits.timeout(r.Header, x.call)
	if err != nil {
		return nil, nil, err
	}
	limit := rt.limits.Body
	if x.call {
		limit += rpc.Prefix
	}
	if r.ContentLength > limit {
		return nil, nil, &http.MaxBytesError{Limit: limit}
	}
	end := time.Now().Add(d)
	ctx, cancel := context.WithDeadline(r.Context(), end)
	r = r.WithContext(ctx)
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &requestBody{ReadCloser: r.Body, short: short(r)}
		if r.URL.Path != rpc.StreamPath {
			// A stream's messages are bounded one by one, by the function.
			x.body.ReadCloser = http.MaxBytesReader(w, r.Body, limit)
		}
		r.Body = x.body
	}
	// A context does not interrupt a client that neither sends nor reads; deadlines of the connection do. Not every one
	// has them: one without goes by the context alone. The server takes them back after the request.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(end.Add(readGrace))
	_ = rc.SetWriteDeadline(end.Add(writeGrace))
	return r, cancel, nil
}

// forward sends a request to x.target, unless that refuses it.
func (rt *Router) forward(w http.ResponseWriter, r *http.Request, x *exchange) error {
	if err := rt.refusal(x.target.Revision); err != nil {
		return rt.refuse(w, r, x, err)
	}
	return rt.send(w, r, x)
}

// send sends a request to x.target and copies the answer.
func (rt *Router) send(w http.ResponseWriter, r *http.Request, x *exchange) error {
	gauge := rt.metrics.inFlight.WithLabelValues(x.target.Model)
	gauge.Inc()
	defer gauge.Dec()
	// A function may answer while it still reads. What is no HTTP/1 connection can do that without being asked.
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()
	x.header = w.Header()
	aborted := rt.copyAnswer(w, r)
	bodyErr := x.body.err()
	if x.err == nil && !aborted && bodyErr == nil {
		return nil
	}
	// The reason comes first: a body that is not there in time ends the request's context.
	err := failure(r.Context(), x, aborted, bodyErr)
	if r.Context().Err() != nil {
		// The server may take the client for gone.
		closeAfter(w, r)
		return err
	}
	rt.keepConnection(w, r, x, rc)
	return err
}

// refuse answers a request that the backend refuses, err saying why.
func (rt *Router) refuse(w http.ResponseWriter, r *http.Request, x *exchange, err error) error {
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // else the server itself would wait for the body
	_ = rc.SetWriteDeadline(time.Now().Add(writeGrace))
	if x.body == nil && r.Body != nil && r.Body != http.NoBody {
		x.body = &requestBody{ReadCloser: r.Body, short: short(r)}
	}
	rt.keepConnection(w, r, x, rc)
	return err
}

// keepConnection sees to it that the connection can be used after an answer to which the body was not read to its end: in full
// duplex the server does not look, and what is left must not be taken for the next request. What cannot be read soon costs
// the connection.
func (rt *Router) keepConnection(w http.ResponseWriter, r *http.Request, x *exchange, rc *http.ResponseController) {
	if r.ProtoMajor == 1 && !x.body.drained(rc, rt.proxy.BufferPool) {
		closeAfter(w, r)
	}
}

func closeAfter(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// refusal is the backend's answer to a request that it would refuse anyhow.
func (rt *Router) refusal(revision string) error {
	if b, ok := rt.backend.(knative.Refuser); ok {
		return b.Refuse(revision)
	}
	return nil
}

// failure is why a request got no answer, or no whole one.
func failure(ctx context.Context, x *exchange, aborted bool, bodyErr error) error {
	switch {
	case bodyErr != nil:
		return bodyError(ctx, bodyErr)
	case ctx.Err() != nil:
		return ctx.Err()
	case aborted && x.answerErr == nil:
		return fmt.Errorf("write the answer: %w", context.Canceled)
	}
	return backendError(errors.Join(x.err, x.answerErr))
}

// copyAnswer reports whether the answer broke off after it had begun.
func (rt *Router) copyAnswer(w http.ResponseWriter, r *http.Request) (aborted bool) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			aborted = true
		}
	}()
	rt.proxy.ServeHTTP(w, r)
	return false
}

// bodyError is the answer to a body that could not be read: over the limit, less than its header promised, not sent in
// time, broken off by a client that left, or malformed.
func bodyError(ctx context.Context, err error) error {
	_, large := errors.AsType[*http.MaxBytesError](err)
	_, told := errors.AsType[*server.Error](err)
	switch {
	case large || told:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return context.DeadlineExceeded
	case ctx.Err() != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return ctx.Err()
	}
	return &server.Error{Status: http.StatusBadRequest, Message: "body ended before it was whole", Err: err}
}

// backendError keeps the errors that translate knows and hides the others.
func backendError(err error) error {
	for _, known := range []error{
		knative.ErrOverloaded, knative.ErrNotReady, knative.ErrLost, knative.ErrNoRevision, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, known) {
			return err
		}
	}
	return &server.Error{Status: http.StatusBadGateway, Message: "the model did not answer as HTTP wants it", Err: err}
}

const bufferSize = 64 << 10

// buffers is a pool of copy buffers. It holds pointers to arrays, since a slice would be boxed on every Put.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return new([bufferSize]byte)[:]
}

func (b *buffers) Put(p []byte) {
	if len(p) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(p))
	}
}
