package attack

import (
	"math"
	"testing"
	"time"

	"weir.dev/weir/loadtest/scenario"
)

func TestScheduleSendsWhatTheRateSays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		a      scenario.Arrivals
		length time.Duration
		total  int
		at     map[int]time.Duration // when some are due
	}{
		{name: "constant", a: scenario.Arrivals{From: 10, To: 10}, length: 2 * time.Second, total: 20,
			at: map[int]time.Duration{0: 0, 1: 100 * time.Millisecond, 19: 1900 * time.Millisecond}},
		{name: "ramp from nothing", a: scenario.Arrivals{To: 10}, length: 10 * time.Second, total: 50,
			at: map[int]time.Duration{2: 2 * time.Second, 32: 8 * time.Second}},
		{name: "sine", a: scenario.Arrivals{From: 10, To: 10, Sine: &scenario.Sine{Amplitude: 10, Period: 4 * time.Second}}, length: 4 * time.Second, total: 40,
			at: map[int]time.Duration{0: 0}},
		{name: "spike", a: scenario.Arrivals{From: 1, To: 1, Spike: &scenario.Spike{To: 100, At: 2 * time.Second, For: time.Second}}, length: 4 * time.Second, total: 103,
			at: map[int]time.Duration{1: time.Second, 52: 2500 * time.Millisecond, 102: 3 * time.Second}},
		{name: "nothing", a: scenario.Arrivals{}, length: time.Second, total: 0},
		{name: "trace", a: scenario.Arrivals{Trace: []time.Duration{0, time.Second, time.Second, 5 * time.Second}}, length: 2 * time.Second, total: 3,
			at: map[int]time.Duration{2: time.Second}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSchedule(tt.a, tt.length)
			last := time.Duration(-1)
			n := 0
			for ; ; n++ {
				at, ok := s.due(uint64(n))
				if !ok {
					break
				}
				if at < last || at > tt.length {
					t.Errorf("arrival %d is due at %v, after one at %v", n, at, last)
				}
				last = at
				if want, checked := tt.at[n]; checked && math.Abs(float64(at-want)) > float64(time.Millisecond) {
					t.Errorf("arrival %d is due at %v, want %v", n, at, want)
				}
			}
			if n != tt.total {
				t.Errorf("%d arrivals, want %d", n, tt.total)
			}
		})
	}
}
