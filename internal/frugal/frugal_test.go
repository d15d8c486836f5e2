package frugal

import (
	"context"
	"net/http"
	"net/http/httptest"
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

// TestGivesBack: the process has the processors again that it had.
func TestGivesBack(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	for name, run := range map[string]func(on func() bool){"keep": keep, "hold": hold} {
		asked := 0
		run(func() bool { asked++; return asked < 5 })
		if got := runtime.GOMAXPROCS(0); got != before {
			t.Errorf("%s: GOMAXPROCS is %d, it was %d", name, got, before)
		}
	}
}

// TestHoldLeavesAll: the processor that is held is one more.
func TestHoldLeavesAll(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	asked := 0
	hold(func() bool {
		if got := runtime.GOMAXPROCS(0); got != before+held {
			t.Errorf("GOMAXPROCS is %d, want %d and one that is held", got, before)
		}
		asked++
		return asked < 3
	})
}

func TestSaverLingers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSaver()
		var holds atomic.Int64
		s.hold = func(on func() bool) {
			holds.Add(1)
			for on() {
				time.Sleep(time.Millisecond)
			}
			holds.Add(-1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		expect := func(after time.Duration, want int64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got := holds.Load(); got != want {
				t.Errorf("%d hold, want %d", got, want)
			}
		}
		request := func() {
			s.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		}
		expect(time.Hour, 0)
		request()
		expect(linger/2, 1)
		request()
		request()
		expect(linger-2*time.Millisecond, 1)
		expect(4*time.Millisecond, 0)
		request()
		expect(0, 1)
		cancel()
		expect(2*time.Millisecond, 0)
	})
}
