//go:build cluster

package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// client runs another project's program against the suite's namespace.
func (w *weir) client(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = harness.Root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestKn does with kn and curl what weir's commands do: the router finds the model, whoever made it.
func TestKn(t *testing.T) {
	w := sharedWeir(t)
	namespace := strings.Split(w.Addr, ".")[1]
	kn := func(args ...string) string {
		t.Helper()
		return w.client(t, harness.Path("build/tools/kn"), append(args, "--namespace", namespace)...)
	}
	image := halfModel(t, w)[1]
	kn("service", "create", "knhalf", "--image", image, "--label", "weir.dev/model=knhalf", "--env", "MODEL_NAME=knhalf",
		"--arg", "--model", "--arg", "/models/half/1", "--revision-name", "knhalf-one", "--request", "cpu=50m")
	ask := func(host string) string {
		t.Helper()
		return w.client(t, "curl", "-sS", "--max-time", "60", "-H", "Host: "+host, "-H", "Content-Type: application/json", "-d", string(halfBody),
			"http://"+os.Getenv("WEIR_INGRESS")+"/v1/models/knhalf:predict")
	}
	const want = "2.5"
	await(t, 30*time.Second, "the router knows what kn made", func() bool { return strings.Contains(ask(w.Addr), want) })
	if got := ask(w.Host("knhalf")); !strings.Contains(got, want) {
		t.Errorf("at its own address: %s", got)
	}
	kn("service", "update", "knhalf", "--env", "GREETING=hello", "--revision-name", "knhalf-two", "--tag", "knhalf-one=old", "--traffic", "knhalf-one=30,@latest=70")
	if r := w.revision(t, "knhalf", "knhalf-one"); r.Percent != 30 || len(r.Tags) != 1 || r.Tags[0] != "old" {
		t.Errorf("weir status after kn's update: %+v", r)
	}
	if got := ask(w.Host("old-knhalf")); !strings.Contains(got, want) {
		t.Errorf("at the tag's address: %s", got)
	}
	if out := kn("service", "list"); !strings.Contains(out, "knhalf") || !strings.Contains(out, "imagenet") {
		t.Errorf("kn lists\n%s", out)
	}
	kn("service", "delete", "knhalf")
}

// TestKubectl has the API server look at the overlays as they are, with kubectl apply -k. (The namespace that the tests share was made
// with kubectl apply -k of overlays/kind and this cluster's registry.)
func TestKubectl(t *testing.T) {
	w := sharedWeir(t)
	for _, overlay := range []string{"kind", "gke", "hpa"} {
		said, err := w.Kubectl(t.Context(), "apply", "-k", harness.Path("knative/overlays", overlay), "--dry-run=server")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"service.serving.knative.dev/router", "service.serving.knative.dev/imagenet", "networkpolicy.networking.k8s.io/"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %s in\n%s", overlay, want, said)
			}
		}
	}
}

// TestFunc deploys the router from the project's func.yaml, under another name: a router that func has made routes as the
// one that kubectl has made.
func TestFunc(t *testing.T) {
	w := sharedWeir(t)
	declared, err := os.ReadFile(harness.Path("func.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	declared = bytes.Replace(declared, []byte("\nname: router\n"), []byte("\nname: funcrouter\n"), 1)
	if err := os.WriteFile(filepath.Join(dir, "func.yaml"), declared, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	namespace := strings.Split(w.Addr, ".")[1]
	function := func(args ...string) {
		t.Helper()
		w.client(t, harness.Path("build/tools/func"), append(args, "--namespace", namespace)...)
	}
	function("deploy", "--build=false", "--push=false", "--image", registry("router"), "--path", dir)
	out := w.client(t, "curl", "-sS", "--max-time", "60", "-H", "Host: "+strings.Replace(w.Addr, "router.", "funcrouter.", 1), "-H", "Content-Type: image/jpeg",
		"--data-binary", "@"+harness.Path("build/samples/china.jpg"), "http://"+os.Getenv("WEIR_INGRESS")+"/v1/models/imagenet:predict")
	if !strings.Contains(out, "palace") {
		t.Errorf("a photo by way of func's router: %s", out)
	}
	function("delete", "funcrouter")
}
