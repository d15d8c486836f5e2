package frugal

import (
	"syscall"
	"time"
)

// Meter measures the processors that this process uses. One goroutine at a time uses it.
type Meter struct {
	least time.Duration
	at    time.Time
	used  time.Duration
	last  float64
}

// NewMeter begins to measure. At least so much time has to pass for another measurement.
func NewMeter(least time.Duration) *Meter {
	m := &Meter{least: least}
	m.Processors()
	return m
}

// Processors is how many were used since the last call that measured.
func (m *Meter) Processors() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	now, used := time.Now(), time.Duration(u.Utime.Nano()+u.Stime.Nano())
	if now.Sub(m.at) < m.least {
		return m.last
	}
	if !m.at.IsZero() {
		m.last = float64(used-m.used) / float64(now.Sub(m.at))
	}
	m.at, m.used = now, used
	return m.last
}
