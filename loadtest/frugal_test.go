package loadtest

import "testing"

func TestWantedProcessors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		used       float64
		most, want int
	}{{0, 4, 1}, {0.2, 4, 1}, {0.6, 4, 1}, {0.7, 4, 2}, {1.9, 8, 4}, {3.9, 4, 4}, {0.9, 1, 1}} {
		if got := wantedProcessors(tt.used, tt.most); got != tt.want {
			t.Errorf("%v used of at most %d: %d, want %d", tt.used, tt.most, got, tt.want)
		}
	}
}
