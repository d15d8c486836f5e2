package attack

import (
	"math"
	"time"

	"weir.dev/weir/loadtest/scenario"
)

// schedule says when the arrivals of an open-loop stage are due.
type schedule struct {
	a      scenario.Arrivals
	length float64 // seconds
}

func newSchedule(a scenario.Arrivals, length time.Duration) schedule {
	return schedule{a: a, length: length.Seconds()}
}

// rate is the arrivals a second at a time; a trace's is its mean around then.
func (s schedule) rate(t time.Duration) float64 {
	x := t.Seconds()
	switch {
	case x < 0 || x > s.length:
		return 0
	case s.a.Trace != nil:
		n := 0
		for _, at := range s.a.Trace {
			if d := (at - t).Abs(); d <= time.Second/2 {
				n++
			}
		}
		return float64(n)
	case s.a.Spike != nil && t >= s.a.Spike.At && t < s.a.Spike.At+s.a.Spike.For:
		return s.a.Spike.To
	}
	r := s.a.From + (s.a.To-s.a.From)*x/s.length
	if w := s.a.Sine; w != nil {
		r += w.Amplitude * math.Sin(2*math.Pi*x/w.Period.Seconds())
	}
	return r
}

// arrived is how many arrivals are due by x seconds: the integral of the rate.
func (s schedule) arrived(x float64) float64 {
	p := s.a.Spike
	if p == nil || x <= p.At.Seconds() {
		return s.base(x)
	}
	begin, end := p.At.Seconds(), (p.At + p.For).Seconds()
	n := s.base(begin) + p.To*(min(x, end)-begin)
	if x > end {
		n += s.base(x) - s.base(end)
	}
	return n
}

// base is arrived without the spike.
func (s schedule) base(x float64) float64 {
	n := s.a.From*x + (s.a.To-s.a.From)*x*x/(2*s.length)
	if w := s.a.Sine; w != nil {
		p := w.Period.Seconds()
		n += w.Amplitude * p / (2 * math.Pi) * (1 - math.Cos(2*math.Pi*x/p))
	}
	return n
}

// due is when arrival n, counted from 0, is to be sent; false if the stage ends before. It finds where the integral of the
// rate reaches n by halving: the rates have no inverse that is worth its code.
func (s schedule) due(n uint64) (time.Duration, bool) {
	if s.a.Trace != nil {
		if n >= uint64(len(s.a.Trace)) {
			return 0, false
		}
		at := s.a.Trace[n]
		return at, at.Seconds() <= s.length
	}
	want := float64(n)
	low, high := 0.0, s.length
	// The last one is due before the end, not at it: a stage of 10/s for 1 s has ten arrivals.
	if s.arrived(high) <= want+1e-9 {
		return 0, false
	}
	for high-low > 1e-7 {
		middle := (low + high) / 2
		if s.arrived(middle) < want {
			low = middle
		} else {
			high = middle
		}
	}
	return time.Duration(low * float64(time.Second)), true
}
