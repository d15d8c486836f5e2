package router

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"weir.dev/weir/knative"
	"weir.dev/weir/router/fetch"
	"weir.dev/weir/router/later"
)

// Options of a Router. Only Backend is needed.
type Options struct {
	// Backend runs the revisions.
	Backend knative.Backend
	// Log gets one access line a request, and under overload one a second and revision for those refused. The zero value writes nothing.
	Log zerolog.Logger
	// Limits bound requests. The zero value has the defaults.
	Limits Limits
	// Fetch bounds the fetching of images by URL. The zero value has the defaults.
	Fetch fetch.Options
	// Registry gets the router's metrics and is what /metrics shows. If nil, a new one.
	Registry *prometheus.Registry
	// Self names the router's own Service: its hosts are the router's and not a model's. If empty, there is none.
	Self string
	// Version is what /v2 says of the server. If empty, dev.
	Version string
	// Home serves /openapi, /home and what is under it, but for /home/fetch and /home/live. If nil, the pages of router/web.
	Home http.Handler
	// Later answers events later, to a sink. Run runs it. If nil, every event is answered at once.
	Later *later.Queue
	// TrustForwarded keeps the X-Forwarded headers of requests: for a router behind a proxy.
	TrustForwarded bool
}

// Limits of requests. Zero fields have the defaults.
type Limits struct {
	// Body bounds a request's body in bytes. If zero, 32 MiB.
	Body int64
	// Timeout bounds a request that does not say X-Weir-Timeout. If zero, 300 s.
	Timeout time.Duration
	// MaxTimeout bounds X-Weir-Timeout: more is cut to it. If zero, an hour, or Timeout if that is longer.
	MaxTimeout time.Duration
	// Viewers bounds the clients of /home/live. If zero, 64.
	Viewers int
	// Fetches bounds the images fetched at a time. If zero, 8.
	Fetches int
}

func (l Limits) withDefaults() Limits {
	if l.Body == 0 {
		l.Body = 32 << 20
	}
	if l.Timeout == 0 {
		l.Timeout = 300 * time.Second
	}
	if l.MaxTimeout == 0 {
		l.MaxTimeout = max(l.Timeout, time.Hour)
	}
	if l.Viewers == 0 {
		l.Viewers = 64
	}
	if l.Fetches == 0 {
		l.Fetches = 8
	}
	return l
}

// Validate reports every problem at once.
func (l Limits) Validate() error {
	var problems []error
	if l.Body < 0 || l.Timeout < 0 || l.MaxTimeout < 0 || l.Viewers < 0 || l.Fetches < 0 {
		problems = append(problems, errors.New("router: a limit is negative"))
	}
	if l = l.withDefaults(); l.MaxTimeout < l.Timeout {
		problems = append(problems, errors.New("router: MaxTimeout is less than Timeout"))
	}
	return errors.Join(problems...)
}

// statusFunc is the part of a Backend that /home/live reads.
type statusFunc func(ctx context.Context) ([]knative.ServiceStatus, error)
