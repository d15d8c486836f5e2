package replica

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

const (
	// groupPoll is how often a group whose program has ended is looked at.
	groupPoll = 5 * time.Millisecond
	// lookEvery is after how many of these the processes of the group are looked at one by one, which costs more.
	lookEvery = 20
	// killedWithin is how long a killed group may take to go. What is left after it hangs in the kernel.
	killedWithin = 2 * time.Second
)

// wait waits for the program, ends what it left behind and tells the world.
func (r *Replica) wait() {
	waitErr := r.cmd.Wait()
	r.probing()
	r.mu.Lock()
	asked, killer := r.asked, r.killer
	r.mu.Unlock()
	// A program that was asked to end may have left its children to end as well: they have what remains of Grace.
	if !asked || killer == nil || !r.groupGone(r.spec.Grace) {
		r.mu.Lock()
		r.signal(syscall.SIGKILL)
		r.mu.Unlock()
		r.groupGone(killedWithin)
	}
	r.mu.Lock()
	r.gone = true
	if r.killer != nil {
		r.killer.Stop()
	}
	r.mu.Unlock()

	r.probes.Wait()
	r.output.wait()
	r.removeRecord()
	r.mu.Lock()
	r.err = r.cause(waitErr)
	err := r.err
	r.mu.Unlock()
	r.spec.Log.Debug().Err(err).Dur("lived", time.Since(r.started)).Msg("replica ended")
	close(r.exited)
}

// groupGone waits until no process of the group is left and says whether that is so.
func (r *Replica) groupGone(within time.Duration) bool {
	end := time.NewTimer(within)
	defer end.Stop()
	tick := time.NewTicker(groupPoll)
	defer tick.Stop()
	for n := 1; syscall.Kill(-r.PID(), 0) == nil; n++ {
		if n%lookEvery == 0 && onlyZombies(r.PID()) {
			return true
		}
		select {
		case <-tick.C:
		case <-end.C:
			return false
		}
	}
	return true
}

// onlyZombies says that all processes of a group have ended, though their parent has not collected them: a child of a
// replica becomes the init process's, and in some containers that collects nothing.
func onlyZombies(group int) bool {
	pids, err := process.Pids()
	if err != nil {
		return false
	}
	for _, pid := range pids {
		if g, err := syscall.Getpgid(int(pid)); err == nil && g == group && !isZombie(pid) {
			return false
		}
	}
	return true
}

func isZombie(pid int32) bool {
	p, err := process.NewProcess(pid)
	if err != nil {
		return true
	}
	status, err := p.Status()
	return err != nil || slices.Contains(status, process.Zombie)
}

// cause says why the replica ended; r.mu is held.
func (r *Replica) cause(waitErr error) error {
	switch {
	case r.asked && r.reason == nil:
		return nil
	case r.reason != nil:
		return fmt.Errorf("replica %s was killed: %w%s", r.spec.Name, r.reason, r.output.said())
	}
	how := "exit status 0"
	var exit *exec.ExitError
	if errors.As(waitErr, &exit) {
		how = exit.String()
	} else if waitErr != nil {
		how = waitErr.Error()
	}
	return fmt.Errorf("replica %s ended by itself: %s%s", r.spec.Name, how, r.output.said())
}
