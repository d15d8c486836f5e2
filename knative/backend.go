package knative

import (
	"context"
	"net/http"
)

// Backend is an engine's data path, as the router sees it.
type Backend interface {
	// RoundTripper sends a request to the revision named by req.URL.Host and fails with the errors of this package.
	http.RoundTripper
	// Status returns what runs, sorted by name.
	Status(ctx context.Context) ([]ServiceStatus, error)
	// Changed returns a channel that is closed when services, revisions, tags, percentages or readiness have changed
	// since the call. It is not closed for changes of load.
	Changed() <-chan struct{}
}

// Refuser is a Backend that knows which requests it would refuse. Under overload, when most are, nothing is then made ready for
// a request that goes nowhere.
type Refuser interface {
	// Refuse returns ErrOverloaded, and counts a request as refused, if the named revision takes none now. If it returns nil the
	// request is to be sent, which may fail by ErrOverloaded still.
	Refuse(revision string) error
}
