package frugal

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPatient runs in a process of its own, as nothing makes it impatient again.
func TestPatient(t *testing.T) {
	if os.Getenv("PATIENT") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestPatient$")
		cmd.Env = append(os.Environ(), "PATIENT=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	nice, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	Patient()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < 2 {
		t.Fatalf("%d threads, want more than one: %v", len(tasks), err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if is, err := unix.SchedGetAttr(tid, 0); err != nil || is.Policy != unix.SCHED_BATCH || is.Nice != nice.Nice {
			t.Errorf("thread %d: %+v, %v; want it patient, and no nicer", tid, is, err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "cat", "/proc/self/stat").Output()
	if err != nil {
		t.Fatal(err)
	}
	// See proc_pid_stat(5).
	if _, rest, _ := strings.Cut(string(out), ") "); strings.Fields(rest)[38] != strconv.Itoa(unix.SCHED_BATCH) {
		t.Errorf("what it starts: %s; want it to inherit that", out)
	}
}
