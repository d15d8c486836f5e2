package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"weir.dev/weir/internal/harness"
)

// TestOneDNNOnEveryProcessor starts a function where TensorFlow would not use oneDNN by itself, as far as Go can tell.
func TestOneDNNOnEveryProcessor(t *testing.T) {
	t.Setenv("GODEBUG", "cpu.avx512vnni=off,cpu.avxvnni=off")
	pid := bareFunction(t)
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(environment, []byte("\x00TF_ENABLE_ONEDNN_OPTS=1\x00")) {
		t.Errorf("the function runs with %q", environment)
	}
}

// TestWithoutOneDNN asks for a model that needs it, which must not be called ready.
func TestWithoutOneDNN(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), harness.Path("bin/functions/embed"), "--model", harness.Path("build/models/embed"), "--host", "127.0.0.1", "--port", "0")
	cmd.Env = append(os.Environ(), "TF_ENABLE_ONEDNN_OPTS=0")
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "TF_ENABLE_ONEDNN_OPTS=0 turns off: leave that out") {
		t.Errorf("the function ended with %v\n%s", err, output)
	}
}
