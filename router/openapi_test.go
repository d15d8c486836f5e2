package router

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestOpenAPI: every operation of the document is one that the router has.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })})
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ Responses map[string]any }
	}
	if err := json.Unmarshal([]byte(f.do(t, ask{method: "GET", path: "/openapi.json"}).body), &doc); err != nil || doc.OpenAPI != openAPIVersion {
		t.Fatalf("%v, version %q", err, doc.OpenAPI)
	}
	operations := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			operations++
			at := strings.NewReplacer("{model}", "imagenet", "{version}", "2", "{label}", "lite2").Replace(path)
			got := f.do(t, ask{method: strings.ToUpper(method), path: at})
			if got.status == http.StatusNotFound || got.status == http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d %s", method, at, got.status, got.body)
			}
			if op.Responses["200"] == nil || op.Responses["404"] == nil {
				t.Errorf("%s %s: answers %v", method, path, op.Responses)
			}
		}
	}
	if operations < 30 {
		t.Errorf("%d operations", operations)
	}
}
