package replica

import (
	"os/exec"
	"runtime"
	"syscall"
)

// niceness is what replicas are nicer by than weir: where models fill the processors, the router still gets its turn at
// once, so that requests are handed on, refused and counted without delay.
const niceness = 5

// start starts a program with all its threads niced. Niceness is a thread's, inherited by what it starts, and cannot be
// taken back: so a thread of its own is niced, and ends with its goroutine, which stays locked to it.
func start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		if turn, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil {
			// The system call returns 20 less the niceness, and the worst is 19. Where it is refused, this is an ordinary start.
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(20-turn+niceness, 19))
		}
		started <- cmd.Start()
	}()
	return <-started
}
