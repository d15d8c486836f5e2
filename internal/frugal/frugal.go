// Package frugal keeps a process that does little a second, in many small pieces, to few threads and few wake-ups: what it
// leaves of the processors it shares, others have. It sets runtime.GOMAXPROCS, so one goroutine of a process at a time uses it.
//
// What Go's scheduler does around a request costs more than a small request itself, in two ways. With more processors
// than it needs it wakes another thread for nearly every goroutine that can go on, which finds nothing left to do. And its
// monitor thread (sysmon), which sleeps while no goroutine runs, is woken by the next system call and looks every 20 µs until
// it may sleep again: three switches for each piece of work. While one of the processors counts as used it stays
// on its own, and comes to look every 10 ms only.
package frugal

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// step is how long a processor is held at a time: less than the 10 ms after which Go takes it away.
	step = 5 * time.Millisecond
	// look is after how many steps the process gets more processors if it needs them.
	look = 10
	// comfortable is how much of its processors the process may use before it gets another one.
	comfortable = 0.6
	// linger is how long a Saver goes on after the last call of Saver.Use.
	linger = time.Second
)

// Keep keeps this process frugal until ctx ends. It is for a process that does nothing but small pieces of work.
func Keep(ctx context.Context) { keep(func() bool { return ctx.Err() == nil }) }

func keep(on func() bool) {
	runtime.SetDefaultGOMAXPROCS()
	defer runtime.SetDefaultGOMAXPROCS()
	most := runtime.GOMAXPROCS(0)
	meter := NewMeter(look * step / 2)
	for on() {
		n, hold := wanted(meter.Processors(), most)
		// To change it stops the process for a moment, so it is done only if something changes.
		if n != runtime.GOMAXPROCS(0) {
			runtime.GOMAXPROCS(n)
		}
		for i := 0; i < look && on(); i++ {
			if !hold {
				time.Sleep(step)
				continue
			}
			sleepHolding(step)
			// The monitor takes a processor away whose goroutine is the same as 10 ms ago.
			runtime.Gosched()
		}
	}
}

// wanted is GOMAXPROCS for a process that used so many processors of at most so many, and whether one of them is to be held.
func wanted(used float64, most int) (n int, hold bool) {
	if used <= comfortable {
		return 1 + held, true
	}
	return min(int(math.Ceil(used/comfortable)), most), false
}

// Saver keeps a process frugal while it is told of small pieces of work.
type Saver struct {
	keep  func(on func() bool)
	began time.Time
	until atomic.Int64 // since began
	wake  chan struct{}
}

// NewSaver makes a Saver, which does nothing until Run.
func NewSaver() *Saver { return &Saver{keep: keep, began: time.Now(), wake: make(chan struct{}, 1)} }

// Use says that there is such work: the process is frugal from now on, for a second. It costs next to nothing and may be
// called from any goroutine.
func (s *Saver) Use() {
	until := time.Since(s.began) + linger
	// Once a millisecond is enough: what all goroutines write at every request they would wait for.
	if until-time.Duration(s.until.Load()) < time.Millisecond {
		return
	}
	s.until.Store(int64(until))
	select {
	case s.wake <- struct{}{}:
	default: // Run was told already
	}
}

// Run keeps the process frugal while Use is called, until ctx ends.
func (s *Saver) Run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		s.keep(func() bool { return ctx.Err() == nil && time.Since(s.began) < time.Duration(s.until.Load()) })
	}
}
