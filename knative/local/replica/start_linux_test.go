package replica

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir.dev/weir/internal/frugal"
)

// Whatever a model does, the router and the autoscaler get their turn. It has its own turns as if weir were not patient.
func TestReplicasAreNicer(t *testing.T) {
	t.Parallel()
	// The thread that starts the replica comes of one of these.
	frugal.Patient()
	r := run(t, spec(t, "says goodbye"))
	within(t, "readiness", r.Ready())
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(r.PID()) + "/task/*/stat")
	if err != nil || len(tasks) == 0 {
		t.Fatal(tasks, err)
	}
	want := turns{nice: turnsOf(t, "/proc/thread-self/stat").nice + niceness, policy: unix.SCHED_NORMAL}
	for _, task := range tasks {
		if got := turnsOf(t, task); got != want {
			t.Errorf("%s has %+v, want %+v", task, got, want)
		}
	}
	r.Kill()
	within(t, "exit", r.Exited())
}

// turns are how a thread gets its turns.
type turns struct{ nice, policy int }

// turnsOf reads them from a thread's stat: see proc_pid_stat(5).
func turnsOf(t *testing.T, stat string) turns {
	t.Helper()
	b, err := os.ReadFile(stat)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	nice, err1 := strconv.Atoi(fields[16])
	policy, err2 := strconv.Atoi(fields[38])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return turns{nice, policy}
}
