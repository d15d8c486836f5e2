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
		OpenAPI  string
		Servers  []struct{ URL string }
		Security []any
		Paths    map[string]map[string]struct {
			OperationID string
			Responses   map[string]any
		}
	}
	text := f.do(t, ask{method: "GET", path: "/openapi.json"}).body
	if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.OpenAPI != openAPIVersion {
		t.Fatalf("%v, version %q", err, doc.OpenAPI)
	}
	if len(doc.Servers) != 1 || doc.Servers[0].URL != "/" || doc.Security == nil {
		t.Errorf("servers %v, security %v", doc.Servers, doc.Security)
	}
	for range 10 {
		if again := f.do(t, ask{method: "GET", path: "/openapi.json"}).body; again != text {
			t.Fatal("the document is another one each time")
		}
	}
	operations, ids := 0, map[string]bool{}
	for path, item := range doc.Paths {
		for method, op := range item {
			operations++
			if ids[op.OperationID] || op.OperationID == "" {
				t.Errorf("%s %s: operationId %q is another's or none", method, path, op.OperationID)
			}
			ids[op.OperationID] = true
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
