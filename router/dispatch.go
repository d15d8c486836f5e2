package router

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/internal/triton"
	"weir.dev/weir/knative"
	"weir.dev/weir/router/route"
)

// ownPath is a path that the router answers itself.
type ownPath struct {
	methods []string
	serve   server.HandlerFunc
}

func (rt *Router) ownPaths() map[string]ownPath {
	prometheus := promhttp.HandlerFor(rt.registry, promhttp.HandlerOpts{})
	ready := map[string]bool{"ready": true}
	return map[string]ownPath{
		"/healthz": {reads, func(w http.ResponseWriter, _ *http.Request) error { return writeText(w, "ok\n") }},
		"/readyz": {reads, func(w http.ResponseWriter, _ *http.Request) error {
			if _, err := rt.routes(); err != nil {
				return err
			}
			return writeText(w, "ok\n")
		}},
		"/metrics":             {reads, func(w http.ResponseWriter, r *http.Request) error { prometheus.ServeHTTP(w, r); return nil }},
		"/v1/models":           {reads, rt.listV1},
		"/v2":                  {reads, rt.serverV2},
		"/v2/models":           {reads, rt.listV2},
		pathStatistics:         {reads, rt.statisticsV2},
		"/v2/repository/index": {writes, rt.indexV2},
		"/v2/health/live":      {reads, func(w http.ResponseWriter, _ *http.Request) error { return writeJSON(w, map[string]bool{"live": true}) }},
		"/v2/health/ready": {reads, func(w http.ResponseWriter, _ *http.Request) error {
			if _, err := rt.routes(); err != nil {
				return err
			}
			return writeJSON(w, ready)
		}},
		"/openapi.json": {reads, rt.openAPI},
		"/home/fetch":   {writes, rt.fetchImage},
		"/home/live":    {reads, rt.live.serve},
	}
}

// serve is the router's one way in.
func (rt *Router) serve(w http.ResponseWriter, r *http.Request) error {
	x := exchangeOf(r.Context())
	x.call = rpc.IsCall(r)
	ensureTrace(r.Header)
	if table := rt.table.Load(); table != nil {
		if host := hostName(r.Host); table.HasHost(host) {
			return rt.predict(w, r, x, route.Hints{Host: host})
		}
	}
	if x.call {
		return rt.serveCall(w, r, x)
	}
	path := r.URL.Path
	if c, ok, err := parsePath(path); ok {
		switch {
		case err != nil:
			return err
		case !slices.Contains(c.methods, r.Method):
			return notAllowed(w, r, c.methods)
		}
		x.forward = c.forward
		return rt.predict(w, r, x, route.Hints{Model: c.model, Version: c.version, Tag: c.label})
	}
	if own, ok := rt.own[trimSlash(path)]; ok {
		if !slices.Contains(own.methods, r.Method) {
			return notAllowed(w, r, own.methods)
		}
		return own.serve(w, r)
	}
	switch {
	case path == "/home" || strings.HasPrefix(path, "/home/") || path == "/openapi":
		rt.home.ServeHTTP(w, r)
		return nil
	case path == "/" && slices.Contains(reads, r.Method) && strings.Contains(r.Header.Get("Accept"), "text/html"):
		http.Redirect(w, r, "/home", http.StatusFound)
		return nil
	case path == "/" && slices.Contains(reads, r.Method):
		return writeJSON(w, map[string]string{"status": "alive"}) // what KServe's clients of V1 ask for
	case path == "/events" || path == "/" && !slices.Contains(reads, r.Method):
		if r.Method != http.MethodPost {
			return notAllowed(w, r, writes)
		}
		return rt.serveEvent(w, r, x)
	}
	if err := triton.Lacks(path); err != nil {
		return err
	}
	return &server.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("no %s here: expected "+
		"/v1/models[/M[/versions/V|/labels/L][:predict|:classify|:regress|/metadata]], /v2[/models[/stats|/M[/versions/V][/infer|/ready|/config|/stats]]], "+
		"/v2/health/live|ready, /v2/repository/index, POST / or /events for CloudEvents, /home, /openapi, /healthz, /readyz or /metrics", clip(path))}
}

// trimSlash lets /v1/models/ be /v1/models.
func trimSlash(path string) string {
	if len(path) > 1 {
		return strings.TrimSuffix(path, "/")
	}
	return path
}

// predict sends a request to the model that the hints mean.
func (rt *Router) predict(w http.ResponseWriter, r *http.Request, x *exchange, hints route.Hints) error {
	if err := rt.pick(w, r, x, hints); err != nil {
		return err
	}
	// Before anything is made ready for it: under overload most requests end here.
	if err := rt.refusal(x.target.Revision); err != nil {
		return rt.refuse(w, r, x, err)
	}
	r, done, err := rt.admit(w, r, x)
	if err != nil {
		return err
	}
	defer done()
	return rt.send(w, r, x)
}

// pick chooses x.target and tells the client.
func (rt *Router) pick(w http.ResponseWriter, r *http.Request, x *exchange, hints route.Hints) error {
	if err := rt.choose(r.Header, x, hints); err != nil {
		return err
	}
	w.Header().Set(knative.HeaderRevision, x.target.Revision)
	return nil
}

// choose sets x.target.
func (rt *Router) choose(header http.Header, x *exchange, hints route.Hints) error {
	if err := headerHints(header, &hints); err != nil {
		return err
	}
	table, err := rt.routes()
	if err != nil {
		return err
	}
	x.target, err = table.Pick(hints, rand.Uint64())
	return err
}

// routes returns the table, or an error before there is one.
func (rt *Router) routes() (*route.Table, error) {
	if table := rt.table.Load(); table != nil {
		return table, nil
	}
	return nil, &server.Error{Status: http.StatusServiceUnavailable, Message: "the router is starting: try again", RetryAfter: knative.RetryAfter}
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if _, err := w.Write([]byte(text)); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
