package knative

import (
	"errors"
	"time"
)

// Errors of an engine's data path, for errors.Is.
var (
	// ErrOverloaded says that the revision's queue is full: try again later.
	ErrOverloaded = errors.New("queue is full")
	// ErrNotReady says that the revision has no replica that answers and will not have one soon.
	ErrNotReady = errors.New("no replica is ready")
	// ErrLost says that the replica went away before it answered and the request may not be sent twice.
	ErrLost = errors.New("replica was lost")
	// ErrNoRevision says that there is no such revision.
	ErrNoRevision = errors.New("no such revision")
)

// NotReadyError is an ErrNotReady with a reason that clients are told.
type NotReadyError struct {
	Reason string
	// Err is what the reason comes from; it may be nil.
	Err error
}

func (e *NotReadyError) Error() string { return ErrNotReady.Error() + ": " + e.Reason }

func (e *NotReadyError) Unwrap() error { return e.Err }

// Is says that it is an ErrNotReady.
func (e *NotReadyError) Is(target error) bool { return target == ErrNotReady }

// RetryAfter is what clients are told on ErrOverloaded, ErrNotReady and ErrLost.
const RetryAfter = time.Second

// Headers that an engine sets on an answer.
const (
	// HeaderRevision names the revision that answered.
	HeaderRevision = "X-Weir-Revision"
	// HeaderColdStart is "true" if the request waited for a replica to start.
	HeaderColdStart = "X-Weir-Cold-Start"
)
