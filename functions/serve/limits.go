package serve

import "time"

// Limits of a Server. The zero value is the documented defaults.
type Limits struct {
	// Body bounds a request's body in bytes, before and after decompression. If zero, 32 MiB.
	Body int64
	// Instances bounds the instances in a JSON request. If zero, 1,000.
	Instances int
	// Depth bounds how deep lists and objects of a JSON request are nested. If zero, 32.
	Depth int
	// Read bounds the time to read a body. If zero, 60 s.
	Read time.Duration
	// Pause bounds the time to the next message of a stream, whose client may wait before it goes on. If zero, 10 min.
	Pause time.Duration
}

func (l Limits) withDefaults() Limits {
	l.Body = or(l.Body, 32<<20)
	l.Instances = or(l.Instances, 1000)
	l.Depth = or(l.Depth, 32)
	l.Read = or(l.Read, time.Minute)
	l.Pause = or(l.Pause, 10*time.Minute)
	return l
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
