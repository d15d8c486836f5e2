package router

import (
	"net/http"

	"weir.dev/weir/internal/triton"
)

// listedModel is a model in GET /v1/models.
type listedModel struct {
	Name      string           `json:"name"`
	Revisions []listedRevision `json:"revisions"`
}

type listedRevision struct {
	Name    string   `json:"name"`
	Tags    []string `json:"tags"`
	Version int64    `json:"version"`
	Percent int      `json:"percent"`
	Ready   bool     `json:"ready"`
	Images  bool     `json:"images"`
}

// listV1 answers every model with its revisions. No standard has this; the shape is weir's own.
func (rt *Router) listV1(w http.ResponseWriter, _ *http.Request) error {
	table, err := rt.routes()
	if err != nil {
		return err
	}
	models := []listedModel{}
	for _, m := range table.Models() {
		l := listedModel{Name: m.Name, Revisions: []listedRevision{}}
		for _, r := range m.Revisions {
			l.Revisions = append(l.Revisions, listedRevision{r.Name, append([]string{}, r.Tags...), r.Version, r.Percent, r.Ready, r.Images})
		}
		models = append(models, l)
	}
	return writeJSON(w, map[string]any{"models": models})
}

// listV2 answers the models' names, as KServe's servers do.
func (rt *Router) listV2(w http.ResponseWriter, _ *http.Request) error {
	table, err := rt.routes()
	if err != nil {
		return err
	}
	names := []string{}
	for _, m := range table.Models() {
		names = append(names, m.Name)
	}
	return writeJSON(w, map[string]any{"models": names})
}

// serverV2 is the Open Inference Protocol's server metadata.
func (rt *Router) serverV2(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]any{"name": serverName, "version": rt.version, "extensions": triton.Extensions()})
}
