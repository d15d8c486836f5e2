package frugal

import (
	"syscall"
	"time"
)

// held is how many processors a goroutine in sleepHolding has.
const held = 1

// sleepHolding sleeps as a goroutine that is in a system call, to which a processor belongs meanwhile.
func sleepHolding(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // a signal may end it early
}
