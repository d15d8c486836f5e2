package kind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/kind/install"
)

// The configuration is what kind itself reads, and maps the port that Kourier's Service gets.
func TestKindConfig(t *testing.T) {
	var c v1alpha4.Cluster
	if err := yaml.UnmarshalStrict([]byte(kindConfig), &c); err != nil {
		t.Fatal(err)
	}
	v1alpha4.SetDefaultsCluster(&c)
	if len(c.Nodes) != 1 || len(c.Nodes[0].ExtraPortMappings) != 1 {
		t.Fatalf("nodes %+v", c.Nodes)
	}
	want := v1alpha4.PortMapping{ContainerPort: nodePort, HostPort: 80, ListenAddress: "127.0.0.1", Protocol: v1alpha4.PortMappingProtocolTCP}
	if diff := cmp.Diff(want, c.Nodes[0].ExtraPortMappings[0]); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(c.Nodes[0].Image, ":v1.35.0@sha256:") {
		t.Errorf("image %q", c.Nodes[0].Image)
	}
}

// What --dry-run prints is a shell script with every command that up runs, in its order.
func TestPlanIsAScript(t *testing.T) {
	for name, tc := range map[string]struct {
		options Options
		has     []string
	}{
		"kind": {Options{On: OnKind, Eventing: true}, []string{"docker run", "kind create cluster", "EOF", "hosts.toml", "serving-core.yaml",
			"kourier.yaml", "serving-hpa.yaml", "components.yaml", "mt-channel-broker.yaml", "ingress-class", Domain, "31080"}},
		"minikube":      {Options{On: OnMinikube}, []string{"minikube start", "registry,metrics-server", "serving-core.yaml", "31080"}},
		"gke":           {Options{On: OnGKE, GKE: GKE{Project: "p", Location: "europe-west1"}}, []string{"create-auto weir", "--location europe-west1", "europe-west1-docker.pkg.dev", "serving-core.yaml", ".sslip.io"}},
		"gke, Standard": {Options{On: OnGKE, GKE: GKE{Project: "p", Location: "europe-west1-b", Standard: true}}, []string{"clusters create weir", "--location europe-west1-b", "europe-west1-docker.pkg.dev"}},
		"a context":     {Options{On: OnContext, Context: "mine"}, []string{"kubectl --context mine apply", "components.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			tc.options.State = "build/cluster"
			var plan bytes.Buffer
			if err := Plan(&plan, tc.options); err != nil {
				t.Fatal(err)
			}
			rest := plan.String()
			for _, want := range tc.has {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("after what came before there is no %q in\n%s", want, &plan)
				}
				rest = after
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-n")
			cmd.Stdin = bytes.NewReader(plan.Bytes())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s\n%s", err, out, &plan)
			}
		})
	}
}

// fakeTools puts programs of these names first in the path. Each writes its arguments and its input to the log, and
// fails when the first argument is in failing.
func fakeTools(t *testing.T, failing string, names ...string) (log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := fmt.Sprintf("#!/bin/sh\necho \"${0##*/} $*\" >>%s\ncat >>%s\ncase \" $* \" in %s) echo refused >&2; exit 1;; esac\n", log, log, failing)
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return log
}

func calls(t *testing.T, log string) []string {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "docker ") || strings.HasPrefix(line, "kind ") && !strings.HasPrefix(line, "kind: ") || strings.HasPrefix(line, "gcloud ") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// The commands reach the tools as they are meant, with their input, and a step that is done already is not run again.
func TestUpCallsTheTools(t *testing.T) {
	state := t.TempDir()
	log := fakeTools(t, `*" get kubeconfig "*|*" exec "*`, "docker", "kind")
	_, err := Up(t.Context(), Options{On: OnKind, State: state, Say: t.Logf})
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("the error is %v, not the tool's", err)
	}
	kubeconfig := filepath.Join(state, "kubeconfig")
	want := []string{
		"docker container inspect weir-registry", // there already
		"kind get kubeconfig --name weir",        // not there
		"kind create cluster --name weir --kubeconfig " + kubeconfig + " --wait 2m --config -",
		"kind export kubeconfig --name weir --kubeconfig " + kubeconfig,
		"docker network inspect kind",
		"docker network connect kind weir-registry",
		"docker exec -i weir-control-plane sh -c mkdir -p /etc/containerd/certs.d/localhost:5001 && cat > /etc/containerd/certs.d/localhost:5001/hosts.toml",
	}
	if diff := cmp.Diff(want, calls(t, log)); diff != "" {
		t.Error(diff)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), kindConfig) || !strings.Contains(string(data), kindRegistryHosts) {
		t.Errorf("the tools were not given the configuration:\n%s", data)
	}
}

// A run that was cut off is known: down removes what it has made, without being told which way it was.
func TestDownKnowsTheWay(t *testing.T) {
	state := t.TempDir()
	log := fakeTools(t, `*" describe "*|*" create-auto "*`, "gcloud", "gke-gcloud-auth-plugin")
	o := Options{On: OnGKE, State: state, GKE: GKE{Project: "p", Location: "europe-west1"}, Say: t.Logf}
	if _, err := Up(t.Context(), o); err == nil {
		t.Fatal("up did not fail")
	}
	if err := Down(t.Context(), Options{State: state, Say: t.Logf}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"gcloud container clusters describe weir --project p --location europe-west1",
		"gcloud container clusters create-auto weir --release-channel regular --project p --location europe-west1",
		"gcloud container clusters delete weir --quiet --project p --location europe-west1",
		"gcloud artifacts repositories delete weir --quiet --project p --location europe-west1",
	}
	if diff := cmp.Diff(want, calls(t, log)); diff != "" {
		t.Error(diff)
	}
	if left, err := os.ReadDir(state); err != nil || len(left) > 0 {
		t.Errorf("left in the state folder: %v, %v", left, err)
	}
	if _, err := Status(t.Context(), state); !errors.Is(err, ErrNone) {
		t.Errorf("status after down: %v", err)
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for on, want := range map[string][]string{
		OnKind:     {"docker is not installed", "go install sigs.k8s.io/kind@"},
		OnMinikube: {"docker is not installed", "minikube is not installed"},
		OnGKE:      {"gcloud is not installed", "gke-gcloud-auth-plugin is not installed"},
	} {
		_, err := Up(t.Context(), Options{On: on, State: t.TempDir(), GKE: GKE{Project: "p", Location: "l"}, Say: t.Logf})
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v; want %q", on, err, w)
			}
		}
	}
	if _, err := Up(t.Context(), Options{On: OnGKE, State: t.TempDir(), Say: t.Logf}); err == nil || !strings.Contains(err.Error(), "--project") {
		t.Errorf("gke without a project: %v", err)
	}
}

// On kind and minikube the ingress is at a port of the node, and nothing looks into a registry that pods do not reach.
func TestOnNodePort(t *testing.T) {
	edit := onNodePort("localhost:5001")
	objects := map[string]string{
		`{"kind": "Service", "apiVersion": "v1", "metadata": {"name": "kourier"}, "spec": {"type": "LoadBalancer", "ports": [{"name": "http2", "port": 80}, {"name": "https", "port": 443}]}}`: `{"type":"NodePort","ports":[{"name":"http2","port":80,"nodePort":31080},{"name":"https","port":443}]}`,
		`{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "config-deployment"}}`:                                                                                                 `{"registries-skipping-tag-resolving":"kind.local,ko.local,dev.local,localhost:5001"}`,
		`{"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "metrics-server"}, "spec": {"template": {"spec": {"containers": [{"args": ["--a"]}]}}}}`:                         `{"template":{"spec":{"containers":[{"args":["--a","--kubelet-insecure-tls"]}]}}}`,
	}
	for in, want := range objects {
		o := &install.Object{}
		if err := o.UnmarshalJSON([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if !edit(o) {
			t.Errorf("%s is left out", o.GetName())
		}
		got := o.Object["spec"]
		if got == nil {
			got = o.Object["data"]
		}
		var wanted any
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		gotJSON, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		wantJSON, err := json.Marshal(wanted)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(wantJSON), string(gotJSON)); diff != "" {
			t.Errorf("%s: %s", o.GetName(), diff)
		}
	}
}

// A step stops with the context.
func TestStepsEndWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runSteps(ctx, []step{{why: "x", args: []string{"sleep", "60"}}}, t.Logf); err == nil {
		t.Error("a command ran on")
	}
}
