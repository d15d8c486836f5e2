package static

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"weir.dev/weir/internal/hop"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

// Backend is a knative.Backend whose revisions never change. It is safe for concurrent use.
type Backend struct {
	revisions map[string]place
	services  []knative.ServiceStatus
	plain     *hop.Transport
	h2c       *http.Transport
}

var _ knative.Backend = (*Backend)(nil)

// place is where a revision answers.
type place struct {
	scheme, host string
	h2c          bool
}

func newBackend() *Backend {
	return &Backend{revisions: map[string]place{}, plain: hop.New(server.NewTransport(false)), h2c: server.NewTransport(true)}
}

// RoundTrip sends a request to the revision that its URL's host names.
func (b *Backend) RoundTrip(r *http.Request) (*http.Response, error) {
	p, ok := b.revisions[r.URL.Host]
	if !ok {
		return nil, fmt.Errorf("%w: %q", knative.ErrNoRevision, r.URL.Host)
	}
	// A shallow copy, since the trailer must stay the one that the server fills in.
	out := r.WithContext(r.Context())
	u := *r.URL
	u.Scheme, u.Host = p.scheme, p.host
	// An ingress tells Services apart by Host; X-Forwarded-Host keeps the client's.
	out.URL, out.Host = &u, p.host
	next := http.RoundTripper(b.plain)
	if p.h2c {
		next = b.h2c
	}
	res, err := next.RoundTrip(out)
	if err != nil {
		return nil, named(r.Context(), err)
	}
	res.Request = r
	return res, nil
}

// named wraps the errors that a Backend is to have.
func named(ctx context.Context, err error) error {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return errors.Join(ctx.Err(), err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w", knative.ErrNotReady, err)
	}
	return fmt.Errorf("%w: %w", knative.ErrLost, err)
}

// Status returns the services of the file, sorted by name.
func (b *Backend) Status(context.Context) ([]knative.ServiceStatus, error) {
	services := slices.Clone(b.services)
	slices.SortFunc(services, func(a, c knative.ServiceStatus) int { return strings.Compare(a.Name, c.Name) })
	return services, nil
}

// Changed returns a channel that is never closed.
func (b *Backend) Changed() <-chan struct{} { return nil }

// Close closes idle connections.
func (b *Backend) Close() {
	b.plain.CloseIdleConnections()
	b.h2c.CloseIdleConnections()
}
