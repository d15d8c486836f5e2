package router

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/router/fetch"
	"weir.dev/weir/router/later"
	"weir.dev/weir/router/route"
	"weir.dev/weir/router/web"
)

// resync is how soon the table is tried again when the backend's state could not be read.
const resync = time.Second

// Router dispatches requests. It is safe for concurrent use.
type Router struct {
	backend  knative.Backend
	log      zerolog.Logger
	limits   Limits
	self     string
	version  string
	trust    bool
	home     http.Handler
	registry *prometheus.Registry
	metrics  *metrics
	fetcher  *fetch.Fetcher
	fetches  chan struct{} // a token for each fetch that runs
	origin   *http.CrossOriginProtection
	live     *live
	later    *later.Queue // nil if there is no sink
	refusals *refusals
	proxy    *httputil.ReverseProxy
	own      map[string]ownPath
	calls    map[string]ownCall
	// reflection tells gRPC clients of the router's services and its models'.
	reflection *rpc.Reflection
	// tooLong has the revisions whose statistics are known to be too long.
	tooLong sync.Map
	// table is nil until the backend's state was read once.
	table atomic.Pointer[route.Table]
}

// New makes a Router. It serves no model before Sync or Run has read what the backend runs.
func New(o Options) (*Router, error) {
	if o.Backend == nil {
		return nil, errors.New("router: Backend is missing")
	}
	if err := o.Limits.Validate(); err != nil {
		return nil, err
	}
	fetcher, err := fetch.New(o.Fetch)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	metrics, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	if o.Home == nil {
		o.Home = web.Handler()
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	limits := o.Limits.withDefaults()
	rt := &Router{
		backend: o.Backend, log: o.Log, limits: limits, self: o.Self, version: o.Version, trust: o.TrustForwarded,
		home: o.Home, registry: o.Registry, metrics: metrics, fetcher: fetcher,
		fetches: make(chan struct{}, limits.Fetches), origin: http.NewCrossOriginProtection(),
		live: newLive(o.Backend.Status, limits.Viewers), later: o.Later, refusals: newRefusals(o.Log),
	}
	rt.proxy = rt.newProxy()
	rt.own = rt.ownPaths()
	rt.calls, rt.reflection = rt.ownCalls(), rpc.NewReflection(callServices...)
	return rt, nil
}

// Handler returns the router's HTTP handler.
func (rt *Router) Handler() http.Handler {
	adapted := server.Adapt(rt.serve, server.Options{
		Log: &rt.log, Translate: translate, WriteError: rt.writeError, EndError: rpc.EndError, Observe: rt.observe,
		Unlogged: rt.refusals.unlogged, Fields: fields,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		adapted.ServeHTTP(w, withExchange(r))
	})
}

// Run follows the backend's changes, feeds /home/live and answers what was accepted for later until ctx ends. It returns
// nil then, after every stream of /home/live was told to end, so that a server can drain, and after predictions for later
// have ended or were cut off: the backend has to run that long.
func (rt *Router) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { rt.follow(ctx); return nil })
	g.Go(func() error { rt.live.run(ctx); return nil })
	if rt.later != nil {
		g.Go(func() error { return rt.later.Run(ctx, rt.predictLater) })
	}
	return g.Wait()
}

// follow keeps the table like what the backend runs.
func (rt *Router) follow(ctx context.Context) {
	for {
		// Asked for before Sync, so that no change between the two is missed.
		changed := rt.backend.Changed()
		var again <-chan time.Time
		if err := rt.Sync(ctx); err != nil && ctx.Err() == nil {
			rt.log.Error().Err(err).Msg("the routing table is kept as it was")
			again = time.After(resync)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
	}
}

// Sync reads what the backend runs and routes by that from now on. A Service that cannot be routed to is left out and
// logged.
func (rt *Router) Sync(ctx context.Context) error {
	services, err := rt.backend.Status(ctx)
	if err != nil {
		return fmt.Errorf("read what runs: %w", err)
	}
	table, left := buildTable(services, rt.self)
	if left != nil {
		rt.log.Error().Err(left).Msg("services are left out of the routing table")
	}
	rt.table.Store(table)
	rt.metrics.keep(services)
	return nil
}
