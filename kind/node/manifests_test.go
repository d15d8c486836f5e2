package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/kind/install"
)

func TestEdit(t *testing.T) {
	dir := t.TempDir()
	digests := `{"knative.dev/serving/cmd/queue": "sha256:aa", "docker.io/envoyproxy/envoy": "sha256:bb"}`
	if err := os.WriteFile(filepath.Join(dir, "images.json"), []byte(digests), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := OpenManifests(Info{Programs: dir, Registry: "10.86.0.1:5000", IngressIP: "10.96.0.80"})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ in, want string }{
		"an image in a ConfigMap": {
			in:   `{kind: ConfigMap, data: {queue-sidecar-image: "ko://knative.dev/serving/cmd/queue", other: "ko://unknown"}}`,
			want: `{kind: ConfigMap, data: {queue-sidecar-image: "10.86.0.1:5000/knative.dev/serving/cmd/queue@sha256:aa", other: "ko://unknown"}}`,
		},
		"the gateway": {
			in: `{kind: Deployment, spec: {template: {spec: {containers: [{image: "docker.io/envoyproxy/envoy:v1.36-latest",
				resources: {requests: {cpu: 200m, memory: 200Mi}, limits: {cpu: "1", memory: 800Mi}},
				lifecycle: {preStop: {exec: {command: [/bin/sh]}}}, readinessProbe: {initialDelaySeconds: 10, periodSeconds: 5}}]}}}}`,
			want: `{kind: Deployment, spec: {template: {spec: {containers: [{image: "10.86.0.1:5000/docker.io/envoyproxy/envoy@sha256:bb",
				resources: {requests: {memory: 200Mi}, limits: {memory: 800Mi}},
				lifecycle: {preStop: {sleep: {seconds: 1}}}, readinessProbe: {periodSeconds: 1}}]}}}}`,
		},
		"a Deployment whose image was not built": {
			in: `{kind: Deployment, spec: {template: {spec: {containers: [{image: "ko://knative.dev/eventing/cmd/jobsink"}]}}}}`,
		},
		"an autoscaler of a component": {in: `{kind: HorizontalPodAutoscaler}`},
		"the ingress's Service": {
			in:   `{kind: Service, metadata: {name: kourier}, spec: {type: LoadBalancer}}`,
			want: `{kind: Service, metadata: {name: kourier}, spec: {type: ClusterIP, clusterIP: 10.96.0.80}}`,
		},
		"another Service": {in: `{kind: Service, metadata: {name: x}, spec: {type: LoadBalancer}}`, want: `{kind: Service, metadata: {name: x}, spec: {type: LoadBalancer}}`},
	} {
		t.Run(name, func(t *testing.T) {
			o := object(t, tc.in)
			kept := m.Edit(o)
			if kept != (tc.want != "") {
				t.Fatalf("kept: %v", kept)
			}
			if !kept {
				return
			}
			if diff := cmp.Diff(object(t, tc.want).Object, o.Object); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func object(t *testing.T, text string) *install.Object {
	t.Helper()
	o := &install.Object{}
	data, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = o.UnmarshalJSON([]byte(`{"apiVersion": "v1", ` + string(data[1:])))
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}
