//go:build !linux

package attack

import "time"

// sleepUntil waits for a moment that is near.
func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }
