package frugal

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Patient makes this process one that does not interrupt others (SCHED_BATCH, see sched(7)): where they fill the processors, its
// threads wait until the present turn of one of them ends, a few milliseconds, and find more than one piece of work then. Its share
// of the processors stays the same, and an idle one is taken at once. What it starts inherits that. Where it is refused, all stays as
// it was.
func Patient() {
	// A thread that was not patient yet may have started another one meanwhile.
	for all := false; !all; {
		all = true
		tasks, _ := os.ReadDir("/proc/self/task") // none: there is no /proc
		for _, task := range tasks {
			if tid, err := strconv.Atoi(task.Name()); err == nil && wait(tid) {
				all = false
			}
		}
	}
}

// PatientUnlessNice is Patient for a process that was not started nicer than others, which gives way already: below a patient weir
// a replica that is both answered a third less on one day.
func PatientUnlessNice() {
	if is, err := unix.SchedGetAttr(0, 0); err == nil && is.Nice <= 0 {
		Patient()
	}
}

// wait makes a thread patient, and says whether it was not before.
func wait(tid int) bool {
	is, err := unix.SchedGetAttr(tid, 0)
	if err != nil || is.Policy == unix.SCHED_BATCH {
		return false
	}
	return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_BATCH, Nice: is.Nice}, 0) == nil
}
