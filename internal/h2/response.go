package h2

import (
	"errors"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// held is up to how much of an answer is kept before it is written, as in net/http.
const held = 4 << 10

// response writes an answer.
type response struct {
	st       *stream
	header   http.Header
	tooLarge bool // the request's header is
	status   int  // 0: not said yet
	// fields are the header when it is complete.
	fields   []hpack.HeaderField
	declared []string // names of trailers
	typed    bool     // the header has a content type, or the body is encoded
	length   int64    // of the body, as the handler says; -1: it does not
	written  int64
	buf      []byte
	sent     bool // the header
	ended    bool
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status != 0 || w.ended {
		return
	}
	if status < 100 || status > 999 {
		panic("h2: invalid status " + strconv.Itoa(status))
	}
	if status < 200 {
		w.interim(status, w.collect(nil, w.header))
		return
	}
	w.status = status
	w.fields = w.collect(make([]hpack.HeaderField, 0, len(w.header)+3), w.header)
}

// askBody has the client send its body. Whoever reads the body calls it.
func (w *response) askBody() { w.interim(http.StatusContinue, nil) }

// interim writes an interim answer, unless the answer has begun.
func (w *response) interim(status int, fields []hpack.HeaderField) {
	c := w.st.c
	c.mu.Lock()
	if w.st.outErr == nil && !w.sent {
		c.writeHeader(w.st.id, status, fields, false)
	}
	c.mu.Unlock()
	c.flush()
}

// collect adds the fields that may be sent.
func (w *response) collect(fields []hpack.HeaderField, header http.Header) []hpack.HeaderField {
	for name, values := range header {
		switch {
		case connectionHeaders[name] || strings.HasPrefix(name, http.TrailerPrefix) || !httpguts.ValidHeaderFieldName(name):
			continue
		case name == "Trailer":
			for _, list := range values {
				for t := range strings.SplitSeq(list, ",") {
					w.declare(textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(t)))
				}
			}
		case name == "Content-Type" || name == "Content-Encoding":
			w.typed = true
		case name == "Content-Length" && len(values) > 0:
			n, err := strconv.ParseUint(values[0], 10, 63)
			if err != nil {
				continue
			}
			w.length = int64(n)
		}
		for _, value := range values {
			if httpguts.ValidHeaderFieldValue(value) {
				fields = append(fields, hpack.HeaderField{Name: name, Value: value})
			}
		}
	}
	return fields
}

func (w *response) declare(name string) {
	if httpguts.ValidTrailerHeader(name) && !slices.Contains(w.declared, name) {
		w.declared = append(w.declared, name)
	}
}

// isHead says whether the client wants the header only.
func (w *response) isHead() bool { return w.st.req.Method == http.MethodHead }

// isBodiless says whether the status allows no body.
func (w *response) isBodiless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.ended {
		return 0, errEnded
	}
	w.WriteHeader(http.StatusOK)
	if w.isBodiless() {
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if len(w.buf)+len(p) <= held {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if len(w.buf) > 0 {
		if err := w.push(w.buf, false); err != nil {
			return 0, err
		}
		w.buf = w.buf[:0]
	}
	if len(p) <= held/2 {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.push(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// FlushError sends what was written, for http.ResponseController.
func (w *response) FlushError() error {
	if w.ended {
		return errEnded
	}
	w.WriteHeader(http.StatusOK)
	err := w.push(w.buf, false)
	w.buf = w.buf[:0]
	w.st.c.flush()
	return err
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// EnableFullDuplex is for http.ResponseController: HTTP/2 is.
func (w *response) EnableFullDuplex() error { return nil }

// SetReadDeadline bounds reading the body, for http.ResponseController.
func (w *response) SetReadDeadline(t time.Time) error {
	w.st.body.setDeadline(t)
	return nil
}

// SetWriteDeadline bounds waiting for a client that does not read, for http.ResponseController.
func (w *response) SetWriteDeadline(t time.Time) error {
	c := w.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	w.st.writeBy = t
	return nil
}

// end ends the answer.
func (w *response) end() {
	w.WriteHeader(http.StatusOK)
	for name := range w.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			bare = textproto.CanonicalMIMEHeaderKey(bare)
			w.declare(bare)
			w.header[bare] = w.header[name]
		}
	}
	if w.length >= 0 && w.written < w.length && !w.isBodiless() && !w.isHead() {
		w.st.c.reset(w.st.id, http2.ErrCodeInternal)
		return
	}
	_ = w.push(w.buf, true)
	w.ended = true
}

// push writes the header, if it was not yet, data and perhaps the end.
func (w *response) push(data []byte, end bool) error {
	st, c := w.st, w.st.c
	trailers := end && w.hasTrailers()
	// The header alone says what it would with the body.
	if !w.sent {
		w.complete(data, end)
	} else if w.isHead() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.outErr != nil {
		return st.outErr
	}
	if !w.sent {
		w.sent = true
		done := end && len(data) == 0 && !trailers || w.isHead()
		c.writeHeader(st.id, w.status, w.fields, done)
		if done {
			st.finish()
			return nil
		}
	}
	for len(data) > 0 || end && !trailers {
		n := 0
		if len(data) > 0 {
			var err error
			if n, err = c.mayWrite(st, len(data)); err != nil {
				return err
			}
		}
		last := end && !trailers && n == len(data)
		_ = c.fr.WriteData(st.id, last, data[:n])
		if data = data[n:]; last {
			break
		}
	}
	if trailers {
		c.writeTrailer(st.id, w.declared, w.header)
	}
	if end {
		st.finish()
	}
	return nil
}

// complete adds to the header what the handler left to the server.
func (w *response) complete(data []byte, end bool) {
	if end && w.length < 0 && !w.isBodiless() && (len(data) > 0 || !w.isHead()) {
		w.fields = append(w.fields, hpack.HeaderField{Name: "Content-Length", Value: strconv.Itoa(len(data))})
	}
	if !w.typed && len(data) > 0 {
		w.fields = append(w.fields, hpack.HeaderField{Name: "Content-Type", Value: http.DetectContentType(data)})
	}
	if _, ok := w.header["Date"]; !ok {
		w.fields = append(w.fields, hpack.HeaderField{Name: "Date", Value: time.Now().UTC().Format(http.TimeFormat)})
	}
}

func (w *response) hasTrailers() bool {
	for _, name := range w.declared {
		if len(w.header[name]) > 0 {
			return true
		}
	}
	return false
}

// finish ends a stream whose answer is written, with the lock.
func (st *stream) finish() {
	st.outErr = errEnded
	if st.c.streams[st.id] == st && !st.body.isEnded() {
		_ = st.c.fr.WriteRSTStream(st.id, http2.ErrCodeNo)
	}
	st.c.forget(st)
}

// isEnded says whether the client has sent all of the body.
func (b *body) isEnded() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil && !errors.Is(b.err, os.ErrDeadlineExceeded)
}

// writeHeader writes a header, with the lock.
func (c *conn) writeHeader(id uint32, status int, fields []hpack.HeaderField, end bool) {
	c.block = c.block[:0]
	_ = c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: statusText(status)})
	for _, f := range fields {
		f.Name = c.wire(f.Name)
		_ = c.enc.WriteField(f)
	}
	c.writeBlock(id, end)
}

func statusText(status int) string {
	if status == http.StatusOK {
		return "200"
	}
	return strconv.Itoa(status)
}

// writeTrailer writes the trailer, which ends the stream, with the lock.
func (c *conn) writeTrailer(id uint32, names []string, header http.Header) {
	c.block = c.block[:0]
	for _, name := range names {
		for _, value := range header[name] {
			if httpguts.ValidHeaderFieldValue(value) {
				_ = c.enc.WriteField(hpack.HeaderField{Name: c.wire(name), Value: value})
			}
		}
	}
	c.writeBlock(id, true)
}

// writeBlock writes the fields that were encoded.
func (c *conn) writeBlock(id uint32, end bool) {
	block := []byte(c.block)
	n := min(len(block), c.maxFrame)
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:n], EndStream: end, EndHeaders: n == len(block)})
	for block = block[n:]; len(block) > 0; block = block[n:] {
		n = min(len(block), c.maxFrame)
		_ = c.fr.WriteContinuation(id, n == len(block), block[:n])
	}
}
