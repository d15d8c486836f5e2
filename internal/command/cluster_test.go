package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/kind"
)

const (
	twoNodes = `{"kind": "NodeList", "apiVersion": "v1", "items": [
  {"metadata": {"name": "one"}, "status": {"capacity": {"memory": "9Gi"}, "allocatable": {"memory": "8Gi"}}},
  {"metadata": {"name": "two"}, "status": {"allocatable": {"memory": "4Gi"}}}]}`
	nodeMetrics = `{"items": [{"metadata": {"name": "one"}, "usage": {"cpu": "250m", "memory": "1536Mi"}}, {"metadata": {"name": "two"}, "usage": {"memory": "1Gi"}}]}`
	somePods    = `{"kind": "PodList", "apiVersion": "v1", "items": [
  {"metadata": {"name": "imagenet-1", "namespace": "models"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}},
  {"metadata": {"name": "imagenet-2", "namespace": "models"}, "status": {"phase": "Pending"}},
  {"metadata": {"name": "job-1", "namespace": "models"}, "status": {"phase": "Succeeded"}},
  {"metadata": {"name": "activator", "namespace": "knative-serving"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}]}`
)

// apiServer stands for a cluster's: what it does not know it forbids. It returns a state folder that leads to it.
func apiServer(t *testing.T, answers map[string]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			text = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no rights"}`
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(srv.Close)
	state := t.TempDir()
	config := filepath.Join(state, "kubeconfig")
	for file, text := range map[string]string{
		config: fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": %q}}],
			"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}]}`, srv.URL),
		filepath.Join(state, "cluster.json"): fmt.Sprintf(`{"on": "node", "kubeconfig": %q, "registry": "r:5000", "ingress": "i:80", "domain": "d"}`, config),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// TestClusterStatus shows what a cluster is busy with, as far as it tells.
func TestClusterStatus(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"/readyz": "ok", "/api/v1/nodes": twoNodes, "/api/v1/pods": somePods, "/apis/metrics.k8s.io/v1beta1/nodes": nodeMetrics,
	}
	without := func(path string) map[string]string {
		some := map[string]string{}
		for p, a := range all {
			if p != path {
				some[p] = a
			}
		}
		return some
	}
	const memory = "memory one 1.5 of 8.0 GiB\ntwo 1.0 of 4.0 GiB\n"
	const pods = "pods knative-serving 1\nmodels 2, 1 not ready\n"
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    string
	}{
		{"all", all, memory + pods},
		{"no metrics-server", without("/apis/metrics.k8s.io/v1beta1/nodes"), "memory one - of 8.0 GiB\ntwo - of 4.0 GiB\n" + pods + "not known memory in use: no rights\n"},
		{"no nodes", without("/api/v1/nodes"), pods + "not known nodes: no rights\n"},
		{"no pods", without("/api/v1/pods"), memory + "not known pods: no rights\n"},
		{"does not answer", without("/readyz"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			state := apiServer(t, tt.answers)
			var out, errs strings.Builder
			if code := Execute(t.Context(), []string{"cluster", "status", "--state", state}, nil, &out, &errs); code != 0 {
				t.Fatalf("exit code %d: %s", code, errs.String())
			}
			var lines strings.Builder
			for line := range strings.Lines(out.String()) {
				lines.WriteString(strings.Join(strings.Fields(line), " ") + "\n")
			}
			_, got, _ := strings.Cut(lines.String(), "services http://NAME.NAMESPACE.d, at i:80\n")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("as JSON", func(t *testing.T) {
		t.Parallel()
		var out, errs strings.Builder
		if code := Execute(t.Context(), []string{"cluster", "status", "-o", "json", "--state", apiServer(t, all)}, nil, &out, &errs); code != 0 {
			t.Fatalf("exit code %d: %s", code, errs.String())
		}
		var info kind.Info
		if err := json.Unmarshal([]byte(out.String()), &info); err != nil {
			t.Fatal(err)
		}
		one, two := int64(1536<<20), int64(1<<30)
		want := &kind.Usage{
			Nodes:      []kind.NodeUsage{{Name: "one", Used: &one, Memory: 8 << 30}, {Name: "two", Used: &two, Memory: 4 << 30}},
			Namespaces: []kind.NamespacePods{{Name: "knative-serving", Pods: 1, Ready: 1}, {Name: "models", Pods: 2, Ready: 1}},
		}
		if diff := cmp.Diff(want, info.Usage); diff != "" || !info.Ready {
			t.Errorf("ready %v, usage (-want +got):\n%s", info.Ready, diff)
		}
	})
}
