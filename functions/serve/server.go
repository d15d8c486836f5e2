package serve

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"weir.dev/weir/functions/model"
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
}

// Server answers the requests of one model. It is safe for concurrent use.
type Server struct {
	name     string
	source   string
	revision string
	limits   Limits
	log      zerolog.Logger
	metrics  *metrics
	state    atomic.Pointer[state]
	handlers map[api]http.Handler
}

// state is what the server serves: a model, or why there is none. It is replaced as a whole.
type state struct {
	model model.Model
	meta  model.Metadata
	err   error
}

var errLoading = errors.New("model is loading")

// headerRevision names the revision that answers, as knative.HeaderRevision; this package knows nothing of Knative's types.
const headerRevision = "X-Weir-Revision"

// New makes a Server that is not ready until SetModel is called.
func New(o Options) (*Server, error) {
	if o.Name == "" || strings.ContainsAny(o.Name, "/:") {
		return nil, errors.New("serve: Options.Name must be a name without / and :")
	}
	s := &Server{
		name:     o.Name,
		source:   or(o.Source, "/functions/"+o.Name),
		revision: or(o.Revision, os.Getenv("K_REVISION")),
		limits:   o.Limits.withDefaults(),
		log:      o.Log,
		metrics:  newMetrics(o.Name),
	}
	s.state.Store(&state{err: errLoading})
	s.handlers = make(map[api]http.Handler)
	for a, r := range s.routes() {
		s.handlers[a] = s.adapt(a, r)
	}
	return s, nil
}

// SetModel makes the server ready with a model that is loaded and warm. The caller closes the model, after the server.
func (s *Server) SetModel(m model.Model) {
	meta := m.Metadata()
	meta.Name = s.name
	s.state.Store(&state{model: m, meta: meta})
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
		t := parsePath(r.URL.Path)
		if t.api == apiV1Predict && isImage(r.Header.Get("Content-Type")) {
			t.api = apiImage
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
}

type exchangeKey struct{}

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

func (s *Server) adapt(a api, rt route) http.Handler {
	o := server.Options{
		Log:       &s.log,
		Translate: translate,
		Observe: func(_ *http.Request, status int, took time.Duration) {
			s.metrics.observe(a, status, took)
		},
	}
	if a == apiEvents {
		o.WriteError = s.writeErrorEvent
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
		return rt.serve(s, st, w, r.WithContext(ctx))
	}, o)
}
