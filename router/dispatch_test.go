package router

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/knative"
)

// binary is an event's header in binary mode; more is pairs of names and values.
func binary(more ...string) map[string]string {
	h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "e-1", "Ce-Source": "/test", "Ce-Type": TypePredict, "Content-Type": "application/json"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
		if more[i+1] == "" {
			delete(h, more[i])
		}
	}
	return h
}

var structured = map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"}

// envelope is a structured event with more members.
func envelope(more string) string {
	return `{"specversion":"1.0","id":"e-1","source":"/test","type":"dev.weir.predict"` + more + `}`
}

func TestDispatchToModels(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo)})
	const lite0, lite2 = "imagenet-00001", "imagenet-00002"
	tests := []struct {
		name           string
		ask            ask
		revision, path string
	}{
		{"V1 status", ask{method: "GET", path: "/v1/models/imagenet"}, lite0, "/v1/models/imagenet"},
		{"V1 status with a slash", ask{method: "GET", path: "/v1/models/imagenet/"}, lite0, "/v1/models/imagenet/"},
		{"V1 metadata", ask{method: "GET", path: "/v1/models/imagenet/metadata"}, lite0, "/v1/models/imagenet/metadata"},
		{"V1 metadata of another model", ask{method: "GET", path: "/v1/models/digits/metadata"}, "digits-00001", "/v1/models/digits/metadata"},
		{"V1 predict", ask{path: "/v1/models/imagenet:predict"}, lite0, "/v1/models/imagenet:predict"},
		{"V1 classify", ask{path: "/v1/models/imagenet:classify"}, lite0, "/v1/models/imagenet:classify"},
		{"V1 regress", ask{path: "/v1/models/imagenet:regress"}, lite0, "/v1/models/imagenet:regress"},
		{"V1 version", ask{path: "/v1/models/imagenet/versions/2:predict"}, lite2, "/v1/models/imagenet/versions/2:predict"},
		{"V1 version, metadata", ask{method: "GET", path: "/v1/models/imagenet/versions/2/metadata"}, lite2, "/v1/models/imagenet/versions/2/metadata"},
		{"V1 version over tag", ask{path: "/v1/models/imagenet/versions/2:predict", header: map[string]string{HeaderTag: "lite0"}}, lite2, "/v1/models/imagenet/versions/2:predict"},
		{"V1 label", ask{path: "/v1/models/imagenet/labels/lite2:predict"}, lite2, "/v1/models/imagenet:predict"},
		{"V1 label, status", ask{method: "GET", path: "/v1/models/imagenet/labels/lite2"}, lite2, "/v1/models/imagenet"},
		{"V1 label, metadata", ask{method: "GET", path: "/v1/models/imagenet/labels/lite2/metadata"}, lite2, "/v1/models/imagenet/metadata"},
		{"V1 label over tag", ask{path: "/v1/models/imagenet/labels/lite2:predict", header: map[string]string{HeaderTag: "lite0"}}, lite2, "/v1/models/imagenet:predict"},
		{"query", ask{path: "/v1/models/imagenet/labels/lite2:predict?a=1;b&c"}, lite2, "/v1/models/imagenet:predict"},
		{"tag", ask{path: "/v1/models/imagenet:predict", header: map[string]string{HeaderTag: "lite2"}}, lite2, "/v1/models/imagenet:predict"},
		{"Knative's tag", ask{path: "/v1/models/imagenet:predict", header: map[string]string{HeaderKnativeTag: "lite2"}}, lite2, "/v1/models/imagenet:predict"},
		{"both tags", ask{path: "/v1/models/imagenet:predict", header: map[string]string{HeaderKnativeTag: "lite2", HeaderTag: "lite2"}}, lite2, "/v1/models/imagenet:predict"},
		{"session", ask{path: "/v1/models/imagenet:predict", header: map[string]string{HeaderSession: "me"}}, lite0, "/v1/models/imagenet:predict"},
		{"V2 model", ask{method: "GET", path: "/v2/models/imagenet"}, lite0, "/v2/models/imagenet"},
		{"V2 ready", ask{method: "GET", path: "/v2/models/imagenet/ready"}, lite0, "/v2/models/imagenet/ready"},
		{"V2 infer", ask{path: "/v2/models/imagenet/infer"}, lite0, "/v2/models/imagenet/infer"},
		{"V2 version", ask{path: "/v2/models/imagenet/versions/2/infer"}, lite2, "/v2/models/imagenet/versions/2/infer"},
		{"V2 version, ready", ask{method: "GET", path: "/v2/models/imagenet/versions/2/ready"}, lite2, "/v2/models/imagenet/versions/2/ready"},
		{"V2 version, metadata", ask{method: "GET", path: "/v2/models/imagenet/versions/2"}, lite2, "/v2/models/imagenet/versions/2"},
		{"V2 tag", ask{path: "/v2/models/imagenet/infer", header: map[string]string{HeaderTag: "lite2"}}, lite2, "/v2/models/imagenet/infer"},
		{"host", ask{method: "GET", path: "/v1/models", host: "imagenet.default.localhost"}, lite0, "/v1/models"},
		{"host with port", ask{method: "GET", path: "/healthz", host: "imagenet.default.localhost:8080"}, lite0, "/healthz"},
		{"host, capitals and final dot", ask{method: "GET", path: "/metrics", host: "ImageNet.Default.localhost.:8080"}, lite0, "/metrics"},
		{"tag host", ask{path: "/any/thing%2Felse?q=1", host: "lite2-imagenet.default.localhost"}, lite2, "/any/thing%2Felse"},
		{"tag host over tag", ask{path: "/", host: "lite2-imagenet.default.localhost", header: map[string]string{HeaderTag: "lite0"}}, lite2, "/"},
		{"host and tag", ask{path: "/", host: "imagenet.default.localhost", header: map[string]string{HeaderKnativeTag: "lite2"}}, lite2, "/"},
		{"host, any method", ask{method: "DELETE", path: "/home", host: "shop.default.localhost"}, "shop-00001", "/home"},
		{"unknown host is the router's", ask{path: "/v1/models/digits:predict", host: "other.default.localhost"}, "digits-00001", "/v1/models/digits:predict"},
		{"the router's own host", ask{path: "/v1/models/digits:predict", host: "router.default.localhost"}, "digits-00001", "/v1/models/digits:predict"},
		{"binary event", ask{path: "/", header: binary("Ce-Model", "imagenet")}, lite0, "/"},
		{"binary event at /events", ask{path: "/events", header: binary("Ce-Model", "imagenet")}, lite0, "/"},
		{"binary event, tag", ask{path: "/", header: binary("Ce-Model", "imagenet", "Ce-Modeltag", "lite2")}, lite2, "/"},
		{"binary event, tag over header", ask{path: "/", header: binary("Ce-Model", "imagenet", "Ce-Modeltag", "lite2", HeaderTag, "lite0")}, lite2, "/"},
		{"binary event, header's tag", ask{path: "/", header: binary("Ce-Model", "imagenet", HeaderTag, "lite2")}, lite2, "/"},
		{"binary event, version", ask{path: "/", header: binary("Ce-Model", "imagenet", "Ce-Modelversion", "2")}, lite2, "/"},
		{"binary event, type", ask{path: "/", header: binary("Ce-Type", "com.example.photo")}, lite0, "/"},
		{"binary event, encoded type", ask{path: "/", header: binary("Ce-Type", "com%2Eexample.photo")}, lite0, "/"},
		{"binary event, other type and model", ask{path: "/", header: binary("Ce-Type", "x", "Ce-Model", "digits")}, "digits-00001", "/"},
		{"structured event", ask{path: "/", header: structured, body: envelope(`,"model":"imagenet"`)}, lite0, "/"},
		{"structured event, after the data", ask{path: "/events", header: structured, body: envelope(`,"data":{"model":"digits","x":[{}]},"model":"imagenet","modeltag":"lite2"`)}, lite2, "/"},
		{"structured event, version", ask{path: "/", header: structured, body: envelope(`,"model":"imagenet","modelversion":"2"`)}, lite2, "/"},
		{"structured event, version as a number", ask{path: "/", header: structured, body: envelope(`,"model":"imagenet","modelversion":2`)}, lite2, "/"},
		{"structured event, null", ask{path: "/", header: structured, body: envelope(`,"model":"imagenet","modeltag":null`)}, lite0, "/"},
		{"structured event, names are exact", ask{path: "/", header: structured, body: envelope(`,"Model":"digits","model":"imagenet"`)}, lite0, "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := f.do(t, tt.ask)
			s := got.seen(t)
			query := ""
			if i := strings.IndexByte(tt.ask.path, '?'); i >= 0 {
				query = tt.ask.path[i+1:]
			}
			method := tt.ask.method
			if method == "" {
				method = http.MethodPost
			}
			want := seen{Revision: tt.revision, Method: method, Path: tt.path, Query: query, Body: tt.ask.body, Host: s.Host, Header: s.Header}
			if diff := cmp.Diff(want, s); diff != "" {
				t.Errorf("the replica got (-want +got):\n%s", diff)
			}
			if tt.ask.host != "" && s.Host != tt.ask.host {
				t.Errorf("the replica got host %q, want %q", s.Host, tt.ask.host)
			}
			if v := got.header.Values(knative.HeaderRevision); !slices.Equal(v, []string{tt.revision}) {
				t.Errorf("%s is %q, want %q, once", knative.HeaderRevision, v, tt.revision)
			}
		})
	}
}

func TestOwnAnswers(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo), Version: "1.2"})
	const list = `{"models":[{"name":"digits","revisions":[{"name":"digits-00001","tags":[],"version":1,"percent":100,"ready":true,"images":false}]},` +
		`{"name":"imagenet","revisions":[{"name":"imagenet-00001","tags":["lite0"],"version":1,"percent":100,"ready":true,"images":true},` +
		`{"name":"imagenet-00002","tags":["lite2"],"version":2,"percent":0,"ready":true,"images":true}]}]}` + "\n"
	tests := []struct {
		path, want string
	}{
		{"/", `{"status":"alive"}` + "\n"},
		{"/v1/models", list},
		{"/v1/models/", list},
		{"/v2", `{"extensions":["binary_tensor_data","classification","model_configuration","model_repository","statistics"],"name":"weir","version":"1.2"}` + "\n"},
		{"/v2/", `{"extensions":["binary_tensor_data","classification","model_configuration","model_repository","statistics"],"name":"weir","version":"1.2"}` + "\n"},
		{"/v2/models", `{"models":["digits","imagenet"]}` + "\n"},
		{"/v2/health/live", `{"live":true}` + "\n"},
		{"/v2/health/ready", `{"ready":true}` + "\n"},
		{"/healthz", "ok\n"},
		{"/readyz", "ok\n"},
		{"/home", "page /home"},
		{"/home/samples/cat.jpg", "page /home/samples/cat.jpg"},
	}
	for _, tt := range tests {
		got := f.do(t, ask{method: "GET", path: tt.path})
		if got.status != http.StatusOK || got.body != tt.want {
			t.Errorf("%s: %d %s, want %s", tt.path, got.status, got.body, tt.want)
		}
		if head := f.do(t, ask{method: "HEAD", path: tt.path}); head.status != http.StatusOK {
			t.Errorf("HEAD %s: %d", tt.path, head.status)
		}
	}
	got := f.do(t, ask{method: "GET", path: "/", header: map[string]string{"Accept": "text/html,*/*"}})
	if got.status != http.StatusFound || got.header.Get("Location") != "/home" {
		t.Errorf("/ of a browser: %d to %q", got.status, got.header.Get("Location"))
	}
}

func TestMetricsAndAccessLine(t *testing.T) {
	t.Parallel()
	b := replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(knative.HeaderColdStart, "true")
		w.Header().Set("X-Request-Id", "the replica's")
		echo(w, r)
	})
	f := start(t, Options{Backend: b})
	got := f.do(t, ask{path: "/v1/models/imagenet:predict", header: map[string]string{"X-Request-Id": "r-1"}})
	if ids := got.header.Values("X-Request-Id"); len(ids) != 1 || ids[0] != "r-1" {
		t.Errorf("X-Request-Id is %q, want r-1 once", ids)
	}
	if id := got.seen(t).Header.Get("X-Request-Id"); id != "r-1" {
		t.Errorf("the replica got X-Request-Id %q", id)
	}
	f.do(t, ask{path: "/v1/models/nothing:predict"})
	var line map[string]any
	if err := json.Unmarshal([]byte(strings.SplitN(f.log.String(), "\n", 2)[0]), &line); err != nil {
		t.Fatal(err)
	}
	delete(line, "ms")
	delete(line, "bytes")
	want := map[string]any{
		"level": "info", "request": "r-1", "model": "imagenet", "revision": "imagenet-00001", "why": "traffic", "cold": true,
		"method": "POST", "path": "/v1/models/imagenet:predict", "status": 200.0, "message": "request",
	}
	if diff := cmp.Diff(want, line); diff != "" {
		t.Errorf("access line (-want +got):\n%s", diff)
	}
	text := f.do(t, ask{method: "GET", path: "/metrics"}).body
	for _, want := range []string{
		`weir_router_requests_total{code="200",model="imagenet",revision="imagenet-00001"} 1`,
		`weir_router_requests_total{code="404",model="",revision=""} 1`,
		`weir_router_request_seconds_count{model="imagenet",revision="imagenet-00001"} 1`,
		`weir_router_requests_in_flight{model="imagenet"} 0`,
		`weir_router_cold_starts_total{model="imagenet",revision="imagenet-00001"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
