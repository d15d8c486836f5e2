//go:build !linux

package frugal

import "time"

// held is how many processors a goroutine in sleepHolding has.
const held = 0

// sleepHolding sleeps; what it is for was measured on Linux only.
func sleepHolding(d time.Duration) { time.Sleep(d) }
