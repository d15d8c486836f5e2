package serve

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/server"
)

// reserve bounds what a Content-Length alone makes the server set aside.
const reserve = 4 << 20

// readBody reads a whole body within the limits of size and time, decompressed, into memory of m.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, m *memory) ([]byte, error) {
	limit := s.limits.Body
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	in := http.MaxBytesReader(w, r.Body, limit)
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	body, err := receive(w, r, s.limits.Read, func() ([]byte, error) { return s.decompress(in, encoding, r.ContentLength, m) })
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, badRequest("the body is shorter than its Content-Length of %d", r.ContentLength)
	}
	return body, err
}

// receive reads from a request's body within a limit of time and says what a client is told if that fails.
func receive(w http.ResponseWriter, r *http.Request, limit time.Duration, read func() ([]byte, error)) ([]byte, error) {
	control := http.NewResponseController(w)
	end := time.Now().Add(limit)
	deadline := end
	if d, ok := r.Context().Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = control.SetReadDeadline(deadline)
	body, err := read()
	switch {
	case err == nil:
		// After an error the deadline stays, so that the rest of a body is not waited for.
		_ = control.SetReadDeadline(time.Time{})
		return body, nil
	case isTimeout(err) && deadline.Before(end):
		return nil, context.DeadlineExceeded
	case isTimeout(err):
		return nil, statusError(http.StatusRequestTimeout, "the body did not arrive within %v", limit)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || isAnswer(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if r.Context().Err() != nil {
		return nil, context.Canceled
	}
	return nil, badRequest("the body could not be read: %v", err)
}

// isTimeout reports whether a read ended at its deadline. HTTP/1 and HTTP/2 say so with different errors.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// isAnswer reports whether an error already says what a client is told.
func isAnswer(err error) bool {
	_, told := errors.AsType[*server.Error](err)
	return told || model.CodeOf(err) != model.Internal
}

func (s *Server) decompress(in io.Reader, encoding string, length int64, m *memory) ([]byte, error) {
	var z io.ReadCloser
	var err error
	switch encoding {
	case "", "identity":
		return readAll(in, length, m)
	case "gzip", "x-gzip":
		z, err = gzip.NewReader(in)
	case "deflate":
		z, err = zlib.NewReader(in)
	default:
		return nil, statusError(http.StatusUnsupportedMediaType, "content encoding %q is not supported: expected gzip, deflate or none", encoding)
	}
	if err != nil {
		return nil, broken(encoding, err)
	}
	defer z.Close()
	body, err := readAll(io.LimitReader(z, s.limits.Body+1), 0, m)
	if err != nil {
		return nil, broken(encoding, err)
	}
	if int64(len(body)) > s.limits.Body {
		return nil, &http.MaxBytesError{Limit: s.limits.Body}
	}
	return body, nil
}

// broken tells a compressed body that is wrong from one that did not arrive.
func broken(encoding string, err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || isTimeout(err) {
		return err
	}
	return badRequest("the body is no valid %s: %v", encoding, err)
}

func readAll(in io.Reader, length int64, m *memory) ([]byte, error) {
	// ReadFrom wants room to see the end without growing.
	b := bytes.NewBuffer(m.take(int(min(max(length, 0), reserve)) + bytes.MinRead))
	_, err := b.ReadFrom(in)
	return b.Bytes(), err
}

// jsonTypes are the media types under which JSON comes: what curl and older clients send without being told otherwise.
var jsonTypes = map[string]bool{
	"": true, "application/json": true, "text/json": true, "text/plain": true, "application/x-www-form-urlencoded": true,
}

func isJSON(contentType string) bool {
	t := mediaType(contentType)
	return jsonTypes[t] || strings.HasSuffix(t, "+json")
}

func writeJSON(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	// A client that is gone is nobody's error.
	_, _ = w.Write(body)
	return nil
}
