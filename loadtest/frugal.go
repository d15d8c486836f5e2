package loadtest

import (
	"context"
	"math"
	"runtime"
	"time"
)

const (
	// frugalEvery is how soon the sender gets more processors when it needs them.
	frugalEvery = 50 * time.Millisecond
	// comfortable is how much of its processors the sender may use before it gets another one.
	comfortable = 0.6
)

// Frugal keeps this process, until ctx ends, to as few processors as it needs, as it shares them with what it measures: with
// more than that Go wakes another thread for nearly every goroutine that can go on, which finds nothing left to do. At 1,500
// requests a second that is a third of what they cost. It is for a process that does nothing but send.
func Frugal(ctx context.Context) {
	runtime.SetDefaultGOMAXPROCS()
	defer runtime.SetDefaultGOMAXPROCS()
	most := runtime.GOMAXPROCS(0)
	tick := time.NewTicker(frugalEvery)
	defer tick.Stop()
	sender := newMeter(frugalEvery / 2)
	for {
		// To change it stops the process for a moment, so it is done only if something changes.
		if n := wantedProcessors(sender.processors(), most); n != runtime.GOMAXPROCS(0) {
			runtime.GOMAXPROCS(n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func wantedProcessors(used float64, most int) int {
	return min(max(1, int(math.Ceil(used/comfortable))), most)
}
