package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/internal/server"
)

// maxSocketPath is the longest path of a Unix socket on every system (104 bytes on macOS, with the closing zero).
const maxSocketPath = 100

// maxServiceBytes bounds a Service that is applied.
const maxServiceBytes = 1 << 20

// notFoundError is the error for a name that there is not.
type notFoundError struct{ message string }

func (n *notFoundError) Error() string { return n.message }

// control is the engine's API on its Unix socket.
type control struct {
	engine *Engine
	ln     net.Listener
	folder string // made for the socket, if the state folder's path is too long for one
}

// listen opens the control socket and tells clients where it is.
func (e *Engine) listen() (*control, error) {
	c := &control{engine: e}
	socket := filepath.Join(e.store.dir, "control.sock")
	if len(socket) > maxSocketPath {
		folder, err := os.MkdirTemp("", "weir-")
		if err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		c.folder, socket = folder, filepath.Join(folder, "control.sock")
	}
	// The lock is ours: a socket that is there is a crashed engine's.
	if crashed, err := readInfo(e.store.dir); err == nil && filepath.Dir(crashed.Socket) != e.store.dir {
		_ = os.Remove(crashed.Socket)
		_ = os.Remove(filepath.Dir(crashed.Socket)) // only if it is empty
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	var err error
	if c.ln, err = net.Listen("unix", socket); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), c.ln.Close())
	}
	if err := e.store.writeInfo(info{PID: os.Getpid(), Socket: socket, Address: e.o.Address}); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), c.ln.Close())
	}
	return c, nil
}

// run serves until ctx ends.
func (c *control) run(ctx context.Context) error {
	// Streams, as of logs that are followed, end with the engine.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		c.routes().ServeHTTP(w, r.WithContext(rctx))
	})
	err := server.Run(ctx, c.ln, handler, server.Limits{Drain: 5 * time.Second})
	problems := []error{err, c.engine.store.removeInfo()}
	if c.folder != "" {
		problems = append(problems, os.RemoveAll(c.folder))
	}
	return errors.Join(problems...)
}

func (c *control) routes() http.Handler {
	e := c.engine
	mux := http.NewServeMux()
	handle := func(pattern string, h server.HandlerFunc) {
		mux.Handle(pattern, server.Adapt(h, server.Options{Translate: translate}))
	}
	handle("GET /version", func(w http.ResponseWriter, _ *http.Request) error { return answer(w, e.o.Version) })
	handle("GET /services", func(w http.ResponseWriter, r *http.Request) error {
		all, err := e.Services(r.Context())
		return answerOr(w, all, err)
	})
	handle("PUT /services/{name}", func(w http.ResponseWriter, r *http.Request) error {
		var svc servingv1.Service
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxServiceBytes)).Decode(&svc); err != nil {
			return &server.Error{Status: http.StatusBadRequest, Message: "body: expected a Knative Service as JSON: " + err.Error(), Err: err}
		}
		if svc.Name != r.PathValue("name") {
			return &server.Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("the Service is named %q, the path says %q", svc.Name, r.PathValue("name"))}
		}
		return answerOr(w, svc.Name, e.Apply(r.Context(), &svc))
	})
	handle("DELETE /services/{name}", func(w http.ResponseWriter, r *http.Request) error {
		return answerOr(w, r.PathValue("name"), e.Delete(r.Context(), r.PathValue("name")))
	})
	handle("GET /services/{name}/logs", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		err := e.Logs(r.Context(), r.PathValue("name"), r.URL.Query().Has("follow"), flushing{w})
		if errors.Is(err, context.Canceled) {
			return nil // whoever followed has left, or weir ends: what was sent is whole
		}
		return err
	})
	handle("GET /status", func(w http.ResponseWriter, r *http.Request) error {
		all, err := e.Status(r.Context())
		return answerOr(w, all, err)
	})
	handle("GET /revisions/{name}/decisions", func(w http.ResponseWriter, r *http.Request) error {
		decisions, err := e.Decisions(r.PathValue("name"))
		return answerOr(w, decisions, err)
	})
	handle("GET /observe", func(w http.ResponseWriter, r *http.Request) error {
		since, err := time.Parse(time.RFC3339Nano, cmp.Or(r.URL.Query().Get("since"), "0001-01-01T00:00:00Z"))
		if err != nil {
			return &server.Error{Status: http.StatusBadRequest, Message: "since: expected a time as in RFC 3339", Err: err}
		}
		seen, err := e.Observe(r.Context(), since)
		return answerOr(w, seen, err)
	})
	handle("POST /shutdown", func(w http.ResponseWriter, _ *http.Request) error {
		defer e.shutdown()
		return answer(w, "draining")
	})
	return mux
}

// translate turns the engine's errors into answers. Whoever has the socket may see them all.
func translate(err error) *server.Error {
	if missing, ok := errors.AsType[*notFoundError](err); ok {
		return &server.Error{Status: http.StatusNotFound, Message: missing.message}
	}
	if e := server.Translate(err); e.Status != http.StatusInternalServerError {
		return e
	}
	return &server.Error{Status: http.StatusUnprocessableEntity, Message: err.Error(), Err: err}
}

func answerOr(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	return answer(w, v)
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

// flushing sends every line at once, as one who follows a log expects.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
