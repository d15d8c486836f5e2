package server

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"
)

// StatusClientGone is the status in the access line of a request whose client left: nginx's 499.
const StatusClientGone = 499

// Error is an error with its HTTP answer.
type Error struct {
	Status int
	// Message is for the caller. It names no internals.
	Message string
	// RetryAfter, if not zero, is sent as Retry-After in whole seconds, rounded up.
	RetryAfter time.Duration
	// Err is the cause, for the log only.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Translate turns the errors that every server knows into an *Error: an *Error as it is, a body over its limit, the end
// of a context. Anything else is a 500 whose cause stays in the log.
func Translate(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Error{Status: http.StatusRequestEntityTooLarge, Message: "body is over the limit of " + strconv.FormatInt(e.Limit, 10) + " bytes", Err: err}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusGatewayTimeout, Message: "deadline exceeded", Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Status: StatusClientGone, Message: "client closed the request", Err: err}
	}
	return &Error{Status: http.StatusInternalServerError, Message: "internal error", Err: err}
}

// WriteError answers {"error": "…"}.
func WriteError(w http.ResponseWriter, e *Error) {
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	w.WriteHeader(e.Status)
	// The client may be gone: nobody is left to tell.
	_ = json.NewEncoder(w).Encode(struct {
		Error string `json:"error"`
	}{e.Message})
}
