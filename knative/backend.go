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
