package attack

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm waits for moments that are near. Go's timers are late by up to a millisecond, as they wait in epoll, whose steps are
// milliseconds; a timer of the kernel is precise, and waited for as a connection is: no thread is kept by it. One goroutine
// at a time uses it.
type alarm struct {
	fd   int
	file *os.File // nil: there is none, and Go's timers have to do
}

func newAlarm() *alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return &alarm{}
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
}

// wait returns at t, at once if that has passed.
func (a *alarm) wait(t time.Time) {
	d := time.Until(t)
	if d <= 0 {
		return
	}
	if a.file != nil && unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil) == nil {
		var expired [8]byte
		if _, err := a.file.Read(expired[:]); err == nil {
			return
		}
	}
	time.Sleep(time.Until(t))
}

func (a *alarm) close() {
	if a.file != nil {
		_ = a.file.Close() // nothing was written to it
	}
}
