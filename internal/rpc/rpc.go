// Package rpc is gRPC over net/http: what weir's servers need to answer calls themselves, next to REST on the same port
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). A call is a POST like any other, with the same limits
// and deadlines, and its errors go through the server's one translator.
package rpc

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"weir.dev/weir/internal/server"
)

// ContentType is the media type of calls and answers.
const ContentType = "application/grpc"

// Headers and trailers of gRPC.
const (
	headerTimeout  = "Grpc-Timeout"
	headerEncoding = "Grpc-Encoding"
	headerAccept   = "Grpc-Accept-Encoding"
	// TrailerStatus and TrailerMessage tell how a call ended; the header has them if there is no message.
	TrailerStatus  = "Grpc-Status"
	TrailerMessage = "Grpc-Message"
	// TrailerPushback asks clients that try again by themselves to wait (gRFC A6).
	TrailerPushback = "Grpc-Retry-Pushback-Ms"
)

// IsCall says whether a request is a gRPC call.
func IsCall(r *http.Request) bool { return IsContentType(r.Header.Get("Content-Type")) }

// IsContentType says whether a content type is that of a gRPC call, of whatever format.
func IsContentType(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, ContentType)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// StreamPath is the only method of weir's services in which a message of the answer may wait for the client's next one.
const StreamPath = "/inference.GRPCInferenceService/ModelStreamInfer"

// check reports why a request cannot be answered as a call.
func check(r *http.Request) error {
	wrong := func(status int, message string) error { return &server.Error{Status: status, Message: message} }
	rest, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Type"), ContentType), ";")
	switch {
	case r.ProtoMajor < 2 && !isWhole(r):
		return wrong(http.StatusHTTPVersionNotSupported, "gRPC needs HTTP/2: this came over "+r.Proto)
	case r.Method != http.MethodPost:
		return wrong(http.StatusMethodNotAllowed, "a gRPC call is a POST")
	case rest != "" && rest != "+proto":
		return wrong(http.StatusUnsupportedMediaType, "gRPC's message format "+strconv.Quote(rest)+" is not supported: expected "+ContentType+" or +proto")
	}
	return nil
}

var units = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// Timeout returns the time that a call may take by its header; ok is false if it does not say.
func Timeout(h http.Header) (d time.Duration, ok bool, err error) {
	text := h.Get(headerTimeout)
	if text == "" {
		return 0, false, nil
	}
	unit := units[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 64)
	if err != nil || unit == 0 || len(text) > 9 {
		return 0, false, &server.Error{Status: http.StatusBadRequest,
			Message: "header grpc-timeout is " + strconv.Quote(text[:min(len(text), 32)]) + ", expected up to 8 digits and one of H, M, S, m, u, n"}
	}
	if n > uint64(math.MaxInt64/unit) {
		return math.MaxInt64, true, nil
	}
	return time.Duration(n) * unit, true, nil
}

var byStatus = map[int]codes.Code{
	http.StatusOK:                      codes.OK,
	http.StatusBadRequest:              codes.InvalidArgument,
	http.StatusUnauthorized:            codes.Unauthenticated,
	http.StatusForbidden:               codes.PermissionDenied,
	http.StatusNotFound:                codes.NotFound,
	http.StatusMethodNotAllowed:        codes.Unimplemented,
	http.StatusRequestTimeout:          codes.DeadlineExceeded,
	http.StatusConflict:                codes.Aborted,
	http.StatusRequestEntityTooLarge:   codes.ResourceExhausted,
	http.StatusUnsupportedMediaType:    codes.InvalidArgument,
	http.StatusTooManyRequests:         codes.ResourceExhausted,
	server.StatusClientGone:            codes.Canceled,
	http.StatusInternalServerError:     codes.Internal,
	http.StatusNotImplemented:          codes.Unimplemented,
	http.StatusBadGateway:              codes.Unavailable,
	http.StatusServiceUnavailable:      codes.Unavailable,
	http.StatusGatewayTimeout:          codes.DeadlineExceeded,
	http.StatusHTTPVersionNotSupported: codes.Unimplemented,
}

// Code is the gRPC code of an HTTP status: one translator serves both.
func Code(status int) codes.Code {
	if c, ok := byStatus[status]; ok {
		return c
	}
	return codes.Unknown
}

var byCode = map[codes.Code]int{
	codes.OK: http.StatusOK, codes.Canceled: server.StatusClientGone, codes.InvalidArgument: http.StatusBadRequest,
	codes.FailedPrecondition: http.StatusBadRequest, codes.OutOfRange: http.StatusBadRequest,
	codes.DeadlineExceeded: http.StatusGatewayTimeout, codes.NotFound: http.StatusNotFound,
	codes.AlreadyExists: http.StatusConflict, codes.Aborted: http.StatusConflict,
	codes.PermissionDenied: http.StatusForbidden, codes.Unauthenticated: http.StatusUnauthorized,
	codes.ResourceExhausted: http.StatusTooManyRequests, codes.Unimplemented: http.StatusNotImplemented,
	codes.Unavailable: http.StatusServiceUnavailable,
}

// Status is the HTTP status of an answer by its header or trailer: what the access line and the metrics show of a call.
func Status(header, trailer http.Header) int {
	text := trailer.Get(TrailerStatus)
	if text == "" {
		text = header.Get(TrailerStatus)
	}
	code, err := strconv.ParseUint(text, 10, 32)
	if status, ok := byCode[codes.Code(code)]; ok && err == nil {
		return status
	}
	return http.StatusInternalServerError
}

// WriteError answers a call with an error alone: everything is in the header. What came over HTTP/1 cannot be a call
// and is answered as REST is.
func WriteError(w http.ResponseWriter, r *http.Request, e *server.Error) {
	if r.ProtoMajor < 2 && !isWhole(r) {
		server.WriteError(w, e)
		return
	}
	h := w.Header()
	h.Del("Content-Length")
	h.Del("Trailer")
	h.Set("Content-Type", ContentType)
	h.Set(headerAccept, accepted) // a client whose encoding was refused may take another
	setStatus(h, e)
	w.WriteHeader(http.StatusOK)
}

// EndError ends a call whose answer had begun: the trailer says how. What is no call it leaves alone and returns false.
func EndError(w http.ResponseWriter, r *http.Request, e *server.Error) bool {
	if r.ProtoMajor < 2 || !IsCall(r) {
		return false
	}
	trailer := http.Header{}
	setStatus(trailer, e)
	for name, values := range trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
	return true
}

// setStatus says how a call ended; a nil error is a good end.
func setStatus(h http.Header, e *server.Error) {
	if e == nil {
		h.Set(TrailerStatus, "0")
		return
	}
	h.Set(TrailerStatus, strconv.Itoa(int(Code(e.Status))))
	h.Set(TrailerMessage, encodeMessage(e.Message))
	if e.RetryAfter > 0 {
		h.Set(TrailerPushback, strconv.FormatInt(e.RetryAfter.Milliseconds(), 10))
	}
}

// encodeMessage percent-encodes what a trailer does not carry.
func encodeMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
