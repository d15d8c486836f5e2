package replica

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// niceness is what replicas are nicer by than weir: where models fill the processors, the router still gets its turn soon, so that
// requests are handed on, refused and counted without delay.
const niceness = 5

// start starts a program with all its threads niced, and patient no more if weir is (frugal.Patient). Both are a thread's, inherited
// by what it starts, and niceness cannot be taken back: so a thread of its own is changed, and ends with its goroutine, which stays
// locked to it.
func start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		if is, err := unix.SchedGetAttr(0, 0); err == nil {
			// Where it is refused, this is an ordinary start.
			_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: min(is.Nice+niceness, 19)}, 0)
		}
		started <- cmd.Start()
	}()
	return <-started
}
