package attack

import (
	"syscall"
	"time"
)

// sleepUntil waits for a moment that is near. Go's timers are late by up to a millisecond, as they wait in epoll; the
// kernel's own sleep is late by its timer slack, 0.05 ms. It keeps a thread and cannot be interrupted.
func sleepUntil(t time.Time) {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		left := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&left, nil) // interrupted by a signal it is called again
	}
}
