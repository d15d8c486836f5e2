package replica

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Whatever a model does, the router and the autoscaler get their turn.
func TestReplicasAreNicer(t *testing.T) {
	t.Parallel()
	r := run(t, spec(t, "says goodbye"))
	within(t, "readiness", r.Ready())
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(r.PID()) + "/task/*/stat")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	want := niceOf(t, "/proc/thread-self/stat") + niceness
	for _, task := range tasks {
		if got := niceOf(t, task); got != want {
			t.Errorf("%s has niceness %d, want %d", task, got, want)
		}
	}
	r.Kill()
	within(t, "exit", r.Exited())
}

// niceOf reads the niceness from a thread's stat: see proc_pid_stat(5).
func niceOf(t *testing.T, stat string) int {
	t.Helper()
	b, err := os.ReadFile(stat)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	nice, err := strconv.Atoi(strings.Fields(rest)[16])
	if err != nil {
		t.Fatal(err)
	}
	return nice
}
