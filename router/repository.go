package router

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"weir.dev/weir/internal/server"
)

// serverName is what the Open Inference Protocol's server metadata says.
const serverName = "weir"

// errUnload is the answer to Triton's unload: when a model is in memory is the autoscaler's to say.
var errUnload = &server.Error{
	Status: http.StatusBadRequest, Message: "a model is unloaded when nobody has asked it for a while: weir delete removes it for good",
}

// indexEntry is a model's version in Triton's repository index.
type indexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// index lists every revision of every model. A model that sleeps is ready: it answers when it is asked.
func (rt *Router) index(readyOnly bool) ([]indexEntry, error) {
	table, err := rt.routes()
	if err != nil {
		return nil, err
	}
	entries := []indexEntry{}
	for _, m := range table.Models() {
		for _, r := range m.Revisions {
			e := indexEntry{Name: m.Name, State: "READY"}
			if r.Version != 0 {
				e.Version = strconv.FormatInt(r.Version, 10)
			}
			if !r.Ready {
				e.State, e.Reason = "UNAVAILABLE", "the revision's replicas do not get ready"
			}
			if r.Ready || !readyOnly {
				entries = append(entries, e)
			}
		}
	}
	return entries, nil
}

// indexV2 answers Triton's repository index.
func (rt *Router) indexV2(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Ready bool `json:"ready"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOwnCall)).Decode(&req)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return &server.Error{Status: http.StatusBadRequest, Message: `expected {"ready": true|false} or no body`, Err: err}
	}
	entries, err := rt.index(req.Ready)
	if err != nil {
		return err
	}
	return writeJSON(w, entries)
}
