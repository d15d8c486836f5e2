//go:build cluster

package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/kind"
)

// TestNode takes a node through its life as a user and a crash do: from nothing to a Service that starts from zero, a
// first process that is killed, a keeper that is killed, and an end that leaves nothing behind.
func TestNode(t *testing.T) {
	before := look(t)
	n := &testNode{T: t, state: t.TempDir()}
	t.Cleanup(n.cleanup)

	began := time.Now()
	n.up()
	t.Logf("from nothing to all of it available: %.1f s", time.Since(began).Seconds())
	namespaces := namespacesOf(t, n.firstProcess())
	if out := routesOut(t, n.firstProcess()); len(out) > 0 {
		t.Errorf("the node has routes out of the machine: %q", out)
	}

	// Zero comes soon, for this test.
	n.kubectl(`{"data": {"scale-to-zero-grace-period": "3s", "stable-window": "6s"}}`,
		"-n", "knative-serving", "patch", "configmap", "config-autoscaler", "--type", "merge", "--patch-file", "/dev/stdin")
	began = time.Now()
	n.kubectl(n.hello(), "apply", "-f", "-")
	n.kubectl("", "wait", "ksvc/hello", "--for", "condition=Ready", "--timeout", "60s")
	t.Logf("a Knative Service from nothing to ready: %.1f s", time.Since(began).Seconds())
	n.greets()
	n.kubectl("", "wait", "deployment/hello-00001-deployment", "--for", "jsonpath={.spec.replicas}=0", "--timeout", "90s")
	n.kubectl("", "wait", "pods", "--selector", "serving.knative.dev/service=hello", "--for", "delete", "--timeout", "90s")
	began = time.Now()
	n.greets()
	t.Logf("an answer from zero: %.2f s", time.Since(began).Seconds())
	if got := n.kubectl("", "top", "node", "--no-headers"); !strings.HasPrefix(got, "weir") {
		t.Errorf("kubectl top node: %q", got)
	}

	t.Run("killed first process", func(t *testing.T) {
		n.T = t
		kill(t, n.firstProcess())
		n.comesBack(namespaces)
		namespaces = namespacesOf(t, n.firstProcess())
	})
	t.Run("killed keeper", func(t *testing.T) {
		n.T = t
		kill(t, n.keeper())
		n.comesBack(namespaces)
		namespaces = namespacesOf(t, n.firstProcess())
	})
	n.T = t

	began = time.Now()
	n.weir("cluster", "down", "--state", n.state)
	t.Logf("down: %.1f s", time.Since(began).Seconds())
	n.leavesNothing(before, namespaces)
}

// TestNodeHalfWay kills weir cluster up while it installs; the next one goes on from there, and down ends it all.
func TestNodeHalfWay(t *testing.T) {
	before := look(t)
	n := &testNode{T: t, state: t.TempDir()}
	t.Cleanup(n.cleanup)

	cmd := n.command("cluster", "up", "--state", n.state, "--listen", "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), "applying") {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("up was not killed half-way: %v, %q", err, said)
	}
	namespaces := namespacesOf(t, n.firstProcess())

	n.up()
	n.kubectl(n.hello(), "apply", "-f", "-")
	n.kubectl("", "wait", "ksvc/hello", "--for", "condition=Ready", "--timeout", "60s")
	n.greets()
	n.weir("cluster", "down", "--state", n.state)
	n.leavesNothing(before, namespaces)
}

// testNode drives a node through the weir command.
type testNode struct {
	*testing.T
	state string
	info  kind.Info
}

func (n *testNode) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(n.Context()), harness.Path("bin", "weir"), args...)
	cmd.Dir = harness.Root
	return cmd
}

// weir runs the command and returns what it prints.
func (n *testNode) weir(args ...string) string {
	n.Helper()
	cmd := n.command(args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		n.Fatalf("weir %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func (n *testNode) up() {
	n.Helper()
	n.weir("cluster", "up", "--state", n.state, "--listen", "127.0.0.1:0")
	n.status()
	if !n.info.Ready {
		n.Fatalf("after up, status is %+v", n.info)
	}
}

func (n *testNode) status() {
	n.Helper()
	if err := json.Unmarshal([]byte(n.weir("cluster", "status", "--state", n.state, "-o", "json")), &n.info); err != nil {
		n.Fatal(err)
	}
}

func (n *testNode) kubectl(stdin string, args ...string) string {
	n.Helper()
	cmd := exec.CommandContext(n.Context(), harness.Path("build", "cluster", "programs", "bin", "weir-node"), append([]string{"kubectl", "--kubeconfig", n.info.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (n *testNode) hello() string {
	return `{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "hello"},
		"spec": {"template": {"spec": {"containers": [{"image": "` + n.info.Registry + `/weir.dev/hello"}]}}}}`
}

// greets asks the Service, which has to answer.
func (n *testNode) greets() {
	n.Helper()
	if err := n.ask(); err != nil {
		n.Fatal(err)
	}
}

// ask asks the Service through the ingress, as curl with a Host header does.
func (n *testNode) ask() error {
	ctx, cancel := context.WithTimeout(n.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.info.Ingress, http.NoBody)
	if err != nil {
		return err
	}
	req.Host = "hello.default." + n.info.Domain
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || string(body) != "Hello from weir\n" {
		return fmt.Errorf("%s: %s %q, %w", req.Host, res.Status, body, err)
	}
	return nil
}

// keeper is the process that holds the node.
func (n *testNode) keeper() int {
	n.Helper()
	data, err := os.ReadFile(filepath.Join(n.state, "node", "keeper.lock"))
	if err != nil {
		n.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		n.Fatal(err)
	}
	return pid
}

// firstProcess is PID 1 of the node's namespaces: the keeper's only child.
func (n *testNode) firstProcess() int {
	n.Helper()
	out, err := exec.CommandContext(n.Context(), "sh", "-c", "cat /proc/"+strconv.Itoa(n.keeper())+"/task/*/children").Output()
	if err != nil {
		n.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		n.Fatalf("the keeper's children are %q", out)
	}
	return pid
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// comesBack checks that a node whose process was killed is gone, and back with all it had after another up.
func (n *testNode) comesBack(namespaces map[string]bool) {
	n.Helper()
	n.eventually("every process of the node ends", func() bool { return len(inside(n.T, namespaces)) == 0 })
	n.status()
	if n.info.Ready {
		n.Error("status says that a dead node is ready")
	}
	began := time.Now()
	n.up()
	n.Logf("up again: %.1f s", time.Since(began).Seconds())
	// Its condition is that of before: what counts is that it answers.
	n.eventually("the Service answers again", func() bool { return n.ask() == nil })
}

func (n *testNode) eventually(what string, ok func() bool) {
	n.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			n.Fatalf("within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

// leavesNothing compares the machine with what it was before the node.
func (n *testNode) leavesNothing(before machine, namespaces map[string]bool) {
	n.Helper()
	if left := inside(n.T, namespaces); len(left) > 0 {
		n.Errorf("processes are left:\n%s", strings.Join(left, "\n"))
	}
	if diff := look(n.T).changed(before); diff != "" {
		n.Errorf("left behind on the machine:\n%s", diff)
	}
	if left, err := os.ReadDir(n.state); err != nil || len(left) > 0 {
		n.Errorf("left behind in the state folder: %v, %v", left, err)
	}
}

// cleanup ends a node that a failed test has left.
func (n *testNode) cleanup() {
	if n.Failed() {
		logs, _ := filepath.Glob(filepath.Join(n.state, "node", "log", "*.log"))
		for _, log := range logs {
			data, _ := os.ReadFile(log)
			n.Logf("%s:\n%s", log, data[max(0, len(data)-2000):])
		}
	}
	_ = n.command("cluster", "down", "--state", n.state).Run()
}
