package frugal

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWanted(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		used       float64
		most, want int
		hold       bool
	}{{0, 4, 1 + held, true}, {0.6, 1, 1 + held, true}, {0.7, 4, 2, false}, {1.9, 8, 4, false}, {3.9, 4, 4, false}, {0.9, 1, 1, false}} {
		if got, hold := wanted(tt.used, tt.most); got != tt.want || hold != tt.hold {
			t.Errorf("%v used of at most %d: %d, hold %t; want %d, %t", tt.used, tt.most, got, hold, tt.want, tt.hold)
		}
	}
}

// TestKeepGivesBack: the process has the processors again that it had.
func TestKeepGivesBack(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	asked := 0
	keep(func() bool { asked++; return asked < 5 })
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("GOMAXPROCS is %d, it was %d", got, before)
	}
}

func TestSaverLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSaver()
		var kept atomic.Int64
		s.keep = func(on func() bool) {
			kept.Add(1)
			for on() {
				time.Sleep(time.Millisecond)
			}
			kept.Add(-1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		expect := func(after time.Duration, want int64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := kept.Load(); got != want {
				t.Errorf("kept frugal %d times, want %d", got, want)
			}
		}
		expect(time.Hour, 0)
		s.Use()
		expect(linger/2, 1)
		s.Use()
		s.Use()
		expect(linger-2*time.Millisecond, 1)
		expect(4*time.Millisecond, 0)
		s.Use()
		expect(0, 1)
		cancel()
		expect(2*time.Millisecond, 0)
	})
}
