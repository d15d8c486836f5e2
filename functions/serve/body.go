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
	"strings"
	"time"
)

// reserve bounds what a Content-Length alone makes the server set aside.
const reserve = 4 << 20

// readBody reads a whole body within the limits of size and time, decompressed.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := s.limits.Body
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	control := http.NewResponseController(w)
	deadline := time.Now().Add(s.limits.Read)
	if d, ok := r.Context().Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	// A recorder in a test has no connection and so no deadline.
	_ = control.SetReadDeadline(deadline)
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()

	var in io.Reader = http.MaxBytesReader(w, r.Body, limit)
	encoding := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	body, err := s.decompress(in, encoding, r.ContentLength)
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, os.ErrDeadlineExceeded) && r.Context().Err() != nil:
		return nil, context.DeadlineExceeded
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, statusError(http.StatusRequestTimeout, "the body did not arrive within %v", s.limits.Read)
	case errors.Is(err, io.ErrUnexpectedEOF) && encoding == "":
		return nil, badRequest("the body is shorter than its Content-Length of %d", r.ContentLength)
	}
	return nil, err
}

func (s *Server) decompress(in io.Reader, encoding string, length int64) ([]byte, error) {
	var z io.ReadCloser
	var err error
	switch encoding {
	case "", "identity":
		return readAll(in, length)
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
	body, err := readAll(io.LimitReader(z, s.limits.Body+1), 0)
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
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return badRequest("the body is no valid %s: %v", encoding, err)
}

func readAll(in io.Reader, length int64) ([]byte, error) {
	var b bytes.Buffer
	// ReadFrom wants room to see the end without growing.
	b.Grow(int(min(max(length, 0), reserve)) + bytes.MinRead)
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
	// A client that is gone is nobody's error.
	_, _ = w.Write(body)
	return nil
}
