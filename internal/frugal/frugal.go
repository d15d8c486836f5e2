// Package frugal keeps down what schedulers do around small pieces of work, which costs more than a small request
// itself: what a process leaves of the processors it shares, others have.
//
// There are three such costs, of which two are Go's. The monitor thread (sysmon), which sleeps while no goroutine runs, is woken by the next system
// call and looks every 20 µs until it may sleep again: three switches for each piece of work. While one of the processors
// counts as used it stays on its own, and comes to look every 10 ms only. A Saver does that for a server while it has
// requests. And with more processors than it needs a process wakes another thread for nearly every goroutine that can go
// on, which finds nothing left to do. Keep spares a sender of load that, too.
// The third is the kernel's: where others fill the processors, it interrupts them for each piece of work. Patient ends that.
//
// A Saver and Keep set runtime.GOMAXPROCS, so a process uses one of them, once.
package frugal

import (
	"context"
	"math"
	"net/http"
	"os"
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
	// linger is for how long at least a Saver goes on after a request, but for a tenth of it.
	linger = 5 * time.Second
)

// Keep keeps this process frugal until ctx ends. It is for a process that does nothing but small pieces of work.
func Keep(ctx context.Context) { keep(func() bool { return ctx.Err() == nil }) }

func keep(on func() bool) {
	most := runtime.GOMAXPROCS(0)
	defer giveBack(most)
	meter := NewMeter(look * step / 2)
	for on() {
		n, hold := wanted(meter.Processors(), most)
		// To change it stops the process for a moment, so it is done only if something changes.
		if n != runtime.GOMAXPROCS(0) {
			runtime.GOMAXPROCS(n)
		}
		for i := 0; i < look && on(); i++ {
			if hold {
				holdStep()
			} else {
				time.Sleep(step)
			}
		}
	}
}

// holdStep holds a processor for a step.
func holdStep() {
	sleepHolding(step)
	// The monitor takes a processor away whose goroutine is the same as 10 ms ago.
	runtime.Gosched()
}

// giveBack sets GOMAXPROCS as it was: where the user has not set it, Go goes on to follow what the process may use.
func giveBack(most int) {
	if os.Getenv("GOMAXPROCS") != "" {
		runtime.GOMAXPROCS(most)
		return
	}
	runtime.SetDefaultGOMAXPROCS()
}

// wanted is GOMAXPROCS for a process that used so many processors of at most so many, and whether one of them is to be held.
func wanted(used float64, most int) (n int, hold bool) {
	if used <= comfortable {
		return 1 + held, true
	}
	return min(int(math.Ceil(used/comfortable)), most), false
}

// Saver lets the monitor sleep while there are requests. The process keeps all its processors.
type Saver struct {
	hold  func(on func() bool)
	began time.Time
	until atomic.Int64 // since began
	wake  chan struct{}
}

// NewSaver makes a Saver, which does nothing until Run.
func NewSaver() *Saver { return &Saver{hold: hold, began: time.Now(), wake: make(chan struct{}, 1)} }

// hold keeps a processor more than there are from the monitor's eyes.
func hold(on func() bool) {
	most := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(most + held)
	defer giveBack(most)
	for on() {
		holdStep()
	}
}

// Handler is next, and tells the Saver of each request. That costs next to nothing.
func (s *Saver) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.use()
		next.ServeHTTP(w, r)
	})
}

// use says that there is work, for a while from now on. Any goroutine may call it.
func (s *Saver) use() {
	until := time.Since(s.began) + linger
	// Once a while is enough: what all goroutines write at every request they would wait for.
	if until-time.Duration(s.until.Load()) < linger/10 {
		return
	}
	s.until.Store(int64(until))
	select {
	case s.wake <- struct{}{}:
	default: // Run was told already
	}
}

// Run saves while there are requests, until ctx ends.
func (s *Saver) Run(ctx context.Context) {
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		s.hold(func() bool { return ctx.Err() == nil && time.Since(s.began) < time.Duration(s.until.Load()) })
	}
}
