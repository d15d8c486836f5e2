//go:build !linux

package attack

import "time"

// alarm waits for moments that are near.
type alarm struct{}

func newAlarm() *alarm { return &alarm{} }

// wait returns at t, at once if that has passed.
func (*alarm) wait(t time.Time) { time.Sleep(time.Until(t)) }

func (*alarm) close() {}
