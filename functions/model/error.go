package model

import (
	"errors"
	"fmt"
)

// Code says whose fault an Error is and what the caller can do. Servers map it to a status in one place.
type Code uint8

// The codes, with the HTTP status that servers give them.
const (
	Internal          Code = iota // 500: the caller learns nothing but this
	InvalidArgument               // 400: the request is wrong; the message says what was expected
	NotFound                      // 404: no such model, version, label or signature
	TooLarge                      // 413: over a limit, which the message names
	UnsupportedMedia              // 415: a content type that this model does not take
	ResourceExhausted             // 429: come again later
	Unavailable                   // 503: not ready, or shutting down
)

// Error is an error that a caller may see.
type Error struct {
	Code    Code
	Message string
	// Err is the cause, for the log only.
	Err error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error whose message a caller may see.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first *Error in err's chain, Internal if there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
