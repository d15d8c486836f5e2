package serve

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/report"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
)

// Options of a Server. Name is required.
type Options struct {
	// Name is what the model is called in paths, events and answers.
	Name string
	// Log gets one line a request. The zero value logs nothing.
	Log    zerolog.Logger
	Limits Limits
	// Source is the CloudEvents source of answers. If empty, /functions/NAME.
	Source string
	// Revision is named in answers and in answered events. If empty, the environment's K_REVISION.
	Revision string
	// Metrics are served besides the server's own.
	Metrics []prometheus.Collector
	// Report is what /readyz says as JSON once there is a model. If nil, only that it is ready.
	Report func() report.Replica
}

// Server answers the requests of one model. It is safe for concurrent use.
type Server struct {
	name     string
	source   string
	revision string
	limits   Limits
	log      zerolog.Logger
	metrics  *metrics
	report   func() report.Replica
	state    atomic.Pointer[state]
	handlers map[api]http.Handler
	// calls are the handlers of gRPC methods, by their paths.
	calls      map[string]http.Handler
	reflection *rpc.Reflection
	statistics statistics
	blocks     blocks
}

// state is what the server serves: a model, or why there is none. It is replaced as a whole.
type state struct {
	model model.Model
	meta  model.Metadata
	err   error
}

// version is the model's, as the protocols' texts have it.
func (st *state) version() string { return strconv.FormatInt(st.meta.Version, 10) }

var errLoading = errors.New("model is loading")

// headerRevision names the revision that answers, as knative.HeaderRevision; this package knows nothing of Knative's types.
const headerRevision = "X-Weir-Revision"

// New makes a Server that is not ready until SetModel is called.
func New(o Options) (*Server, error) {
	if o.Name == "" || strings.ContainsAny(o.Name, "/:") {
		return nil, errors.New("serve: Options.Name must be a name that has neither / nor : in it")
	}
	s := &Server{
		name:     o.Name,
		source:   or(o.Source, "/functions/"+o.Name),
		revision: or(o.Revision, os.Getenv("K_REVISION")),
		limits:   o.Limits.withDefaults(),
		log:      o.Log,
		metrics:  newMetrics(o.Name, o.Metrics),
		report:   o.Report,
	}
	s.state.Store(&state{err: errLoading})
	s.handlers = make(map[api]http.Handler)
	for a, r := range s.routes() {
		s.handlers[a] = s.adapt(a, r)
	}
	s.calls = make(map[string]http.Handler)
	for path, m := range rpcRoutes() {
		s.calls[path] = s.adaptCall(m.api, m.route)
	}
	s.calls[""] = s.adaptCall(apiRPCOther, route{early: true, serve: serveOtherRPC})
	s.reflection = rpc.NewReflection(rpcServices...)
	return s, nil
}

// SetModel makes the server ready with a model that is loaded and warm. The caller closes the model, after the server.
func (s *Server) SetModel(m model.Model) {
	meta := m.Metadata()
	meta.Name = s.name
	s.state.Store(&state{model: counted{m, &s.statistics}, meta: meta})
}

// SetFailed says that the model cannot be loaded: the server is neither ready nor healthy from now on.
func (s *Server) SetFailed(err error) {
	s.log.Error().Err(err).Str("model", s.name).Msg("model failed to load")
	s.state.Store(&state{err: errors.Join(errFailed, err)})
}

var errFailed = errors.New("model failed to load")

// Handler returns the handler of every path.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rpc.IsCall(r) {
			call, ok := s.calls[r.URL.Path]
			if !ok {
				call = s.calls[""]
			}
			ctx := context.WithValue(r.Context(), exchangeKey{}, &exchange{tag: r.Header.Get(HeaderTag)})
			call.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		t := parsePath(r.URL.Path)
		if t.api == apiV1Predict && isImage(r.Header.Get("Content-Type")) {
			t.api = apiImage
		}
		if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			t.api = apiAlive
		}
		if s.revision != "" {
			// Requests that a cluster's ingress brings have met no router that says it.
			w.Header().Set(headerRevision, s.revision)
		}
		ctx := context.WithValue(r.Context(), exchangeKey{}, &exchange{target: t})
		s.handlers[t.api].ServeHTTP(w, r.WithContext(ctx))
	})
}

// exchange is what one request and its answer share, from routing to the writer of an error.
type exchange struct {
	target target
	event  eventState
	// tag is the one that the router took, if it says so.
	tag string
}

type exchangeKey struct{}

// HeaderTag names the tag by which the router chose this revision.
const HeaderTag = "X-Weir-Tag"

func tagOf(ctx context.Context) string {
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return ""
	}
	return x.tag
}

func exchangeOf(r *http.Request) *exchange {
	x, ok := r.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return &exchange{}
	}
	return x
}

// route is how one API is served.
type route struct {
	// methods allowed; nil allows all.
	methods []string
	// early says that the route is served before there is a model.
	early bool
	serve func(s *Server, st *state, w http.ResponseWriter, r *http.Request) error
}

// adapt serves an API over HTTP.
func (s *Server) adapt(a api, rt route) http.Handler {
	var writeError func(http.ResponseWriter, *http.Request, *server.Error)
	if a == apiEvents {
		writeError = s.writeErrorEvent
	}
	return s.adaptWith(a, rt, writeError)
}

// adaptCall serves an API over gRPC.
func (s *Server) adaptCall(a api, rt route) http.Handler { return s.adaptWith(a, rt, rpc.WriteError) }

func (s *Server) adaptWith(a api, rt route, writeError func(http.ResponseWriter, *http.Request, *server.Error)) http.Handler {
	o := server.Options{
		Log:        &s.log,
		Translate:  translate,
		WriteError: writeError,
		Observe: func(r *http.Request, status int, took time.Duration) {
			s.metrics.observe(a, status, took)
			if a.predicts() && r.URL.Path != rpc.StreamPath { // whose requests are counted one by one
				s.statistics.observe(status, took)
			}
		},
	}
	return server.Adapt(func(w http.ResponseWriter, r *http.Request) error {
		if r.ContentLength != 0 {
			// The server reads the rest of a body that was refused before it answers: not without end. A recorder in a
			// test has no connection and so no deadline.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.Read))
		}
		st := s.state.Load()
		if !rt.early && st.err != nil {
			return notReady(st.err)
		}
		if err := allow(w, r, rt.methods); err != nil {
			return err
		}
		if a.predicts() {
			s.metrics.inFlight.Inc()
			defer s.metrics.inFlight.Dec()
		}
		ctx, cancel, err := withTimeout(r)
		if err != nil {
			return err
		}
		defer cancel()
		if err := ctx.Err(); err != nil {
			return err // it is late already
		}
		w, done := compressed(w, r)
		defer done()
		return rt.serve(s, st, w, r.WithContext(ctx))
	}, o)
}
