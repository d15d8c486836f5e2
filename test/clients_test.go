package test

import (
	"os"
	"os/exec"
	"testing"

	"weir.dev/weir/internal/harness"
)

// TestClients runs the clients that others wrote, in Python, against a weir with every kind of model: see test/clients.
func TestClients(t *testing.T) {
	t.Parallel()
	python := harness.Path("build/clients/bin/python")
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("%s is missing: make clients", python)
	}
	w := ownWeir(t, "-f", harness.Path("knative"))
	w.must(t, "deploy", "half", "--model", harness.Path("build/fixtures/half_plus_two/1"))
	w.must(t, "deploy", "dtypes", "--model", harness.Path("build/fixtures/dtypes/1"))
	// KServe's client and Triton's define the same messages, so no process can have both; nor can OpenVINO's and TensorFlow's.
	for name, files := range map[string][]string{"kserve": {"test_kserve.py"}, "openvino": {"test_openvino.py"}, "others": {"test_v2.py", "test_dtypes.py", "test_serving.py", "test_wire.py", "test_events.py", "test_openapi.py"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"}, files...)
			cmd := exec.CommandContext(t.Context(), python, args...)
			cmd.Dir = harness.Path("test/clients")
			cmd.Env = append(os.Environ(), "WEIR_ADDR="+w.Addr, "WEIR_BUILD="+harness.Path("build"), "PYTHONDONTWRITEBYTECODE=1")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
