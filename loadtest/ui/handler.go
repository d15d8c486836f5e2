package ui

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"time"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/report"
	"weir.dev/weir/router/web"
)

//go:embed page
var pages embed.FS

const (
	policy  = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	maxBody = 4096
)

// handler serves the page and what it asks for.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h server.HandlerFunc) {
		mux.Handle(pattern, server.Adapt(h, server.Options{Translate: translate}))
	}
	own := func(name string) []byte {
		data, err := pages.ReadFile("page/" + name)
		if err != nil {
			panic(fmt.Sprintf("ui: %v", err))
		}
		return data
	}
	for name, data := range map[string][]byte{
		"{$}": own("index.html"), "live.js": own("live.js"), "live.css": own("live.css"),
		"view.js": report.Asset("view.js"), "page.css": report.Asset("page.css"), "base.css": web.Asset("base.css"),
		"uPlot.iife.min.js": web.Asset("vendor/uplot/uPlot.iife.min.js"), "uPlot.min.css": web.Asset("vendor/uplot/uPlot.min.css"),
	} {
		contentType := map[string]string{".js": "text/javascript", ".css": "text/css", "": "text/html", ".{$}": "text/html"}[path.Ext(name)]
		handle("GET /"+name, func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", contentType+"; charset=utf-8")
			_, err := w.Write(data)
			return err
		})
	}
	handle("GET /api/run", s.serveRun)
	handle("POST /api/start", func(w http.ResponseWriter, _ *http.Request) error { return answered(w, s.start()) })
	handle("POST /api/stop", func(w http.ResponseWriter, _ *http.Request) error {
		if session := s.current(); session != nil {
			session.Stop()
		}
		return answered(w, nil)
	})
	handle("POST /api/set", s.set)
	handle("GET /download/{file}", s.download)
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if !localHost(r.Host) {
			// A name that another site made lead here would make its page one of ours.
			server.WriteError(w, &server.Error{Status: http.StatusForbidden, Message: "expected an address as the host, or localhost"})
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// localHost says whether a Host header is an IP address or localhost.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}

func translate(err error) *server.Error {
	if e := server.Translate(err); e.Status != http.StatusInternalServerError {
		return e
	}
	status := http.StatusUnprocessableEntity
	if errors.Is(err, ErrRunning) {
		status = http.StatusConflict
	}
	return &server.Error{Status: status, Message: err.Error(), Err: err} // the caller is the one who runs it
}

func answered(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = io.WriteString(w, "{}\n")
	return err
}

func (s *Server) current() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// runAnswer is what the page gets every second.
type runAnswer struct {
	Number  int            `json:"number"`
	Running bool           `json:"running"`
	Report  string         `json:"report,omitempty"`
	Problem string         `json:"problem,omitempty"`
	States  []attack.State `json:"states"`
	Run     *measure.Run   `json:"run,omitempty"`
}

// serveRun answers the run with the rows after ?since= of run ?number=; all rows of another run.
func (s *Server) serveRun(w http.ResponseWriter, r *http.Request) error {
	since, _ := strconv.Atoi(r.URL.Query().Get("since"))
	number, _ := strconv.Atoi(r.URL.Query().Get("number"))
	s.mu.Lock()
	a := runAnswer{Number: s.number, Running: s.running() || s.starting, Report: s.report, States: []attack.State{}}
	session := s.session
	if s.problem != nil {
		a.Problem = s.problem.Error()
	}
	s.mu.Unlock()
	if number != a.Number {
		since = 0
	}
	if session != nil {
		run := session.Snapshot(since)
		a.Run, a.States = &run, session.States()
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(a)
}

// set changes the users or the rate of a load.
func (s *Server) set(w http.ResponseWriter, r *http.Request) error {
	var ask struct {
		Load  int     `json:"load"`
		Users int     `json:"users"`
		Rate  float64 `json:"rate"`
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&ask); err != nil {
		return &server.Error{Status: http.StatusBadRequest, Message: `expected {"load": 0, "users": 10} or {"load": 0, "rate": 5}`, Err: err}
	}
	session := s.current()
	if session == nil {
		return &server.Error{Status: http.StatusConflict, Message: "there is no run"}
	}
	if err := session.Set(ask.Load, ask.Users, ask.Rate); err != nil {
		return &server.Error{Status: http.StatusBadRequest, Message: err.Error(), Err: err}
	}
	return answered(w, nil)
}

// download writes one of the report's files of the run as it is now.
func (s *Server) download(w http.ResponseWriter, r *http.Request) error {
	session := s.current()
	if session == nil {
		return &server.Error{Status: http.StatusConflict, Message: "there is no run"}
	}
	name := r.PathValue("file")
	write, contentType, ok := report.Writer(name)
	if !ok {
		return &server.Error{Status: http.StatusNotFound, Message: "there is no file of this name"}
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", time.Now().Format("2006-01-02T15-04-05-")+name))
	return write(w, session.Snapshot(0))
}
