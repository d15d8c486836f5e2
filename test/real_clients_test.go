//go:build cluster

package test

import (
	"os"
	"os/exec"
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
