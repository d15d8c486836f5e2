package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime/debug"
	"time"

	"golang.org/x/net/http2"
)

// stream is a request and its answer.
type stream struct {
	c      *conn
	id     uint32
	cancel context.CancelFunc
	body   body
	w      response
	req    *http.Request
	inflow inflow

	// The reader's.
	remoteEnded bool
	declared    int64 // length of the body; -1 if the client does not say
	got         int64
	started     bool

	// With the connection's lock.
	window  int64
	outErr  error // why nothing more can be written
	writeBy time.Time
	late    *time.Timer
}

// takeHeaders begins a request, or ends one with a trailer.
func (c *conn) takeHeaders(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if f.HasPriority() && f.Priority.StreamDep == id {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	c.mu.Lock()
	st := c.streams[id]
	if st == nil && id <= c.last {
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	if st != nil {
		c.mu.Unlock()
		return st.takeTrailer(f)
	}
	c.last = id
	ignored := c.isFinal
	busy := len(c.streams) >= maxStreams || c.running >= 2*maxStreams
	if busy {
		c.refused++
	}
	refused := c.refused
	c.mu.Unlock()
	switch {
	case ignored:
		return nil
	case refused > 4*maxStreams:
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	case busy:
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	st, err := c.newStream(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	st.window = c.initial
	c.streams[id] = st
	c.running++
	c.refused = 0
	c.handlers.Add(1)
	c.mu.Unlock()
	if f.StreamEnded() {
		_ = st.end(nil)
	}
	if st.remoteEnded || c.in.Buffered() == 0 {
		st.start()
		return nil
	}
	c.waiting = append(c.waiting, st)
	return nil
}

// takeTrailer takes the header after a body.
func (st *stream) takeTrailer(f *http2.MetaHeadersFrame) error {
	if st.remoteEnded {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeStreamClosed}
	}
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	if tooLarge(f) {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeEnhanceYourCalm}
	}
	trailer := http.Header{}
	for _, field := range f.RegularFields() {
		trailer.Add(st.c.canonical(field.Name), field.Value)
	}
	return st.end(trailer)
}

// takeData takes n bytes of flow, some of which are of the body.
func (st *stream) takeData(f *http2.DataFrame, n int) error {
	if !st.inflow.take(n) {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	data := f.Data()
	st.got += int64(len(data))
	if st.declared >= 0 && st.got > st.declared {
		st.c.regain(n)
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	if padding := n - len(data); padding > 0 {
		st.consumed(padding, f.StreamEnded())
	}
	if len(data) > 0 && !st.body.add(data) {
		st.c.regain(len(data)) // nobody reads it
	}
	if f.StreamEnded() {
		if err := st.end(nil); err != nil {
			return err
		}
	}
	if f.StreamEnded() || st.got > headWait {
		st.start()
	}
	return nil
}

// end ends the body.
func (st *stream) end(trailer http.Header) error {
	st.remoteEnded = true
	if st.declared >= 0 && st.got != st.declared {
		st.body.end(fmt.Errorf("the body has %d bytes, its Content-Length is %d: %w", st.got, st.declared, io.ErrUnexpectedEOF), nil)
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
	}
	st.body.end(io.EOF, trailer)
	return nil
}

// start has the request answered. The reader calls it.
func (st *stream) start() {
	if !st.started {
		st.started = true
		st.c.s.run(st)
	}
}

// startAll starts what waited for more that does not come at once.
func (c *conn) startAll() {
	for i, st := range c.waiting {
		st.start()
		c.waiting[i] = nil
	}
	c.waiting = c.waiting[:0]
}

// abandon leaves what was not started: nobody will take the answer.
func (c *conn) abandon() {
	for _, st := range c.waiting {
		if !st.started {
			st.started = true
			c.handlers.Done()
		}
	}
}

// consumed gives the client back what was read of its body.
func (st *stream) consumed(n int, ended bool) {
	if n == 0 {
		return
	}
	c := st.c
	ofConn, ofStream := c.inflow.give(n), uint32(0)
	if !ended {
		ofStream = st.inflow.give(n)
	}
	if ofConn == 0 && ofStream == 0 {
		return
	}
	c.mu.Lock()
	if ofConn > 0 {
		_ = c.fr.WriteWindowUpdate(0, ofConn)
	}
	if ofStream > 0 && c.streams[st.id] == st {
		_ = c.fr.WriteWindowUpdate(st.id, ofStream)
	}
	c.mu.Unlock()
	c.flush()
}

// cut ends a request that nobody waits for, with the connection's lock.
func (st *stream) cut(err error) {
	if st.outErr == nil {
		st.outErr = err
	}
	st.cancel()
	st.body.end(err, nil)
}

var errEnded = errors.New("the answer has ended")

// answer has the handler answer.
func (st *stream) answer() {
	c := st.c
	defer func() {
		p := recover()
		if p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				log.Printf("h2: panic in %s: %v\n%s", st.req.URL.Path, p, debug.Stack())
			}
			st.c.reset(st.id, http2.ErrCodeInternal)
		}
		st.cancel()
		_ = st.body.Close()
		c.mu.Lock()
		c.running--
		if st.late != nil {
			st.late.Stop()
		}
		c.mu.Unlock()
		if c.claim() {
			c.send()
		}
		c.handlers.Done()
	}()
	if st.w.tooLarge {
		st.w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	} else {
		c.s.handler.ServeHTTP(&st.w, st.req)
	}
	st.w.end()
}
