// Package hop sends requests over HTTP/1.1 from one of weir's servers to the next with little in between. An
// http.Transport has two goroutines a connection, and every request waits for both. Here the goroutine that asks writes
// the request and reads the answer; only a long body is written by another one, in larger pieces. A request that is more
// than a body of known length (an upgrade, a trailer, Expect) is left to an http.Transport.
package hop

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"sync"
	"time"
)

// Short is up to how many bytes of a body are read whole and written before the answer is read. As many fit into the
// buffers of any connection, so that a server which answers before it has read everything cannot make both sides wait.
// It is also up to how many bytes of an answer, if it says how long it is, are there before RoundTrip returns it: a
// server that is lost halfway through a short answer is an error of RoundTrip, after which another one can be asked.
const Short = 64 << 10

// patience is how long a connection is waited for that an answer came on before the body was written, as in http.Transport.
const patience = 50 * time.Millisecond

// Transport is an http.RoundTripper. It does not follow what http.Transport does for proxies, TLS and compression. Of a request's
// httptrace.ClientTrace it tells how it got its connection, and of what comes before the answer.
type Transport struct {
	rest  *http.Transport
	conns pool
	heads sync.Pool // of *bytes.Buffer
}

// New returns a Transport that dials, keeps idle connections and leaves what is not short as rest does. With a ReadBufferSize of
// rest's, no more than that of an answer is there before RoundTrip returns it: many connections need less memory.
func New(rest *http.Transport) *Transport {
	return &Transport{rest: rest, conns: pool{dial: rest.DialContext, perHost: rest.MaxIdleConnsPerHost, keep: rest.IdleConnTimeout, read: cmp.Or(rest.ReadBufferSize, Short)}}
}

// CloseIdleConnections closes the connections that no request uses.
func (t *Transport) CloseIdleConnections() {
	t.conns.close()
	t.rest.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !isPlain(req) {
		return t.rest.RoundTrip(req)
	}
	trace := httptrace.ContextClientTrace(req.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(req.URL.Host)
	}
	// Before the body is read: if there is no connection, all of it can still be sent elsewhere.
	c, kept, err := t.conns.take(req.Context(), req.URL.Host)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: c.Conn, Reused: kept, WasIdle: kept})
	}
	message, ok := t.heads.Get().(*bytes.Buffer)
	if !ok {
		message = new(bytes.Buffer)
	}
	defer t.heads.Put(message)
	message.Reset()
	if err := writeRequest(message, req); err != nil {
		t.conns.put(c)
		return nil, err
	}
	// From here on the end of the context ends what the connection does, and with it the connection.
	e := &exchange{pool: &t.conns, conn: c, ctx: req.Context()}
	e.stop = context.AfterFunc(e.ctx, c.stop)
	resp, err := e.ask(message.Bytes(), req)
	if err != nil {
		return nil, e.failed(err)
	}
	return resp, nil
}

// isPlain says whether a request is no more than a header and perhaps a body of known length.
func isPlain(req *http.Request) bool {
	h := req.Header
	return req.URL.Scheme == "http" && !req.Close && len(req.TransferEncoding) == 0 && len(req.Trailer) == 0 &&
		(req.ContentLength > 0 || req.ContentLength == 0 && !hasBody(req)) && h["Upgrade"] == nil && h["Expect"] == nil
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// unwritten are the headers that are not written as they are.
var unwritten = map[string]bool{"Host": true, "User-Agent": true, "Content-Length": true, "Transfer-Encoding": true, "Trailer": true}

// writeRequest writes the header and a short body, which it closes, in one piece.
func writeRequest(b *bytes.Buffer, req *http.Request) error {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	b.WriteString(req.Method)
	b.WriteByte(' ')
	b.WriteString(req.URL.RequestURI())
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(host)
	b.WriteString("\r\n")
	if agent := req.Header.Get("User-Agent"); agent != "" {
		b.WriteString("User-Agent: ")
		b.WriteString(agent)
		b.WriteString("\r\n")
	}
	if req.ContentLength > 0 || req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch {
		b.WriteString("Content-Length: ")
		b.Write(strconv.AppendInt(b.AvailableBuffer(), req.ContentLength, 10))
		b.WriteString("\r\n")
	}
	if err := req.Header.WriteSubset(b, unwritten); err != nil {
		return err
	}
	b.WriteString("\r\n")
	if req.ContentLength > Short {
		return nil
	}
	defer closeBody(req)
	if !hasBody(req) {
		return nil
	}
	b.Grow(int(req.ContentLength) + bytes.MinRead)
	n, err := b.ReadFrom(io.LimitReader(req.Body, req.ContentLength+1))
	if err == nil && n != req.ContentLength {
		err = wrongLength(n, req.ContentLength)
	}
	return err
}

func wrongLength(n, declared int64) error {
	return fmt.Errorf("the body has %d bytes, its Content-Length is %d: %w", n, declared, io.ErrUnexpectedEOF)
}

// exchange is a request and its answer on a connection, and the answer's body.
type exchange struct {
	pool *pool
	conn *conn // nil once it was given back
	ctx  context.Context
	stop func() bool
	body io.Reader
	keep bool          // the connection can be used again after the body
	sent chan struct{} // closed when a long body was written or is given up; nil if there is none
	// sendErr is why it was given up. It is read after sent is closed.
	sendErr error
}

func (e *exchange) ask(message []byte, req *http.Request) (*http.Response, error) {
	if _, err := e.conn.Write(message); err != nil {
		closeBody(req)
		return nil, err
	}
	if req.ContentLength > Short {
		e.sent = make(chan struct{})
		go e.send(e.conn, req)
	}
	for {
		resp, err := e.conn.readHead(req)
		switch {
		case err != nil:
			return nil, err
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("the answer switches protocols, which nobody asked for")
		case resp.StatusCode >= 200:
			e.keep = !resp.Close
			if resp.Body == http.NoBody {
				e.end(e.keep)
				return resp, nil
			}
			if n := resp.ContentLength; n > 0 && n <= int64(e.conn.in.Size()) {
				if _, err := e.conn.in.Peek(int(n)); err != nil {
					return nil, err
				}
			}
			// Its own Close would read what is left.
			e.body, resp.Body = resp.Body, e
			return resp, nil
		}
		trace := httptrace.ContextClientTrace(e.ctx)
		if trace != nil && trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, err
			}
		}
	}
}

// send writes a long body. If it cannot be read, nothing else will come of the request; if it cannot be written, an answer
// may still be there.
func (e *exchange) send(c *conn, req *http.Request) {
	defer close(e.sent)
	defer closeBody(req)
	to := &declared{c: c, left: req.ContentLength}
	buf := e.pool.buffer()
	defer e.pool.buffers.Put(buf)
	n, err := io.CopyBuffer(to, req.Body, buf[:])
	if err == nil && n != req.ContentLength {
		err = wrongLength(n, req.ContentLength)
	}
	if e.sendErr = err; err != nil && to.err == nil {
		c.interrupt()
	}
}

var errLonger = errors.New("the body is longer than its Content-Length")

// declared writes what was declared and no more.
type declared struct {
	c    *conn
	left int64
	err  error // the connection's
}

func (d *declared) Write(p []byte) (n int, err error) {
	if int64(len(p)) > d.left {
		return 0, errLonger
	}
	n, d.err = d.c.Write(p)
	d.left -= int64(n)
	return n, d.err
}

// Read implements io.Reader.
func (e *exchange) Read(p []byte) (int, error) {
	n, err := e.body.Read(p)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		e.end(e.keep)
	default:
		err = e.failed(err)
	}
	return n, err
}

// Close implements io.Closer. A body that was not read to its end costs the connection.
func (e *exchange) Close() error {
	e.end(false)
	return nil
}

// failed gives the connection up and says why: the context's reason first, then the body's.
func (e *exchange) failed(err error) error {
	e.end(false)
	if e.ctx.Err() != nil {
		return e.ctx.Err()
	}
	select {
	case <-e.sent:
		if e.sendErr != nil {
			return e.sendErr
		}
	default:
	}
	return err
}

func (e *exchange) end(keep bool) {
	if e.conn == nil {
		return
	}
	c := e.conn
	e.conn = nil
	if e.stop() && keep && e.isSent() && c.in.Buffered() == 0 {
		e.pool.put(c)
		return
	}
	_ = c.Close()
}

// isSent says whether all of the request was written. An answer that waited for that may come before the goroutine that
// wrote it has gone on.
func (e *exchange) isSent() bool {
	if e.sent == nil {
		return true
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-e.sent:
		return e.sendErr == nil
	case <-late.C:
		return false
	}
}
