package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir.dev/weir/internal/harness"
)

// TestWhoInterruptsNobody looks at the threads of weir, of a replica that it started, and of a function without weir in front,
// TensorFlow's among them.
func TestWhoInterruptsNobody(t *testing.T) {
	w := ownWeir(t, harness.Quick...)
	w.must(t, "deploy", "half", "--model", harness.Path("build/fixtures/half_plus_two/1"), "--min-scale", "1")
	w.must(t, "predict", "half", "--json", writeFile(t, `{"instances":[1.0]}`))
	isOf(t, w.PID(), unix.SCHED_BATCH)
	for _, pid := range w.replicas(t) {
		isOf(t, pid, unix.SCHED_NORMAL)
	}
	isOf(t, bareFunction(t), unix.SCHED_BATCH)
}

// bareFunction starts a function as its help does, and returns its process when it is ready.
func bareFunction(t *testing.T) int {
	t.Helper()
	addr := freeAddress(t)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(harness.Path("bin/functions/savedmodel"), "--model", harness.Path("build/fixtures/half_plus_two/1"), "--host", host, "--port", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, time.Minute, "the function is ready", func() bool {
		res, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return cmd.Process.Pid
}

// isOf fails unless each of a process's threads has this policy.
func isOf(t *testing.T, pid int, policy uint32) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		is, err := unix.SchedGetAttr(tid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil || is.Policy != policy {
			t.Errorf("thread %d of %d: %+v, %v; want policy %d", tid, pid, is, err, policy)
		}
	}
}
