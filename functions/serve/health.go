package serve

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"weir.dev/weir/internal/report"
)

// serveAlive answers what KServe's clients of V1 ask for.
func serveAlive(_ *Server, st *state, w http.ResponseWriter, _ *http.Request) error {
	if err := failed(st); err != nil {
		return err
	}
	return writeJSON(w, []byte(`{"status":"alive"}`))
}

// serveLive answers 200 while the process can still become or be ready.
func serveLive(_ *Server, st *state, w http.ResponseWriter, _ *http.Request) error {
	if err := failed(st); err != nil {
		return err
	}
	return writeText(w, "ok\n")
}

func failed(st *state) error {
	if errors.Is(st.err, errFailed) {
		return notReady(st.err)
	}
	return nil
}

// serveReady answers 200 once a loaded and warm model is set: as JSON, with how that went, to who accepts only that.
func serveReady(s *Server, _ *state, w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Accept") != "application/json" {
		return writeText(w, "ready\n")
	}
	var said report.Replica
	if s.report != nil {
		said = s.report()
	}
	said.Ready, said.WholeCalls = true, true
	body, err := json.Marshal(said)
	if err != nil {
		return err
	}
	return writeJSON(w, body)
}

func serveMetrics(s *Server, _ *state, w http.ResponseWriter, r *http.Request) error {
	s.metrics.handler.ServeHTTP(w, r)
	return nil
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// A client that is gone is nobody's error.
	_, _ = io.WriteString(w, text)
	return nil
}
