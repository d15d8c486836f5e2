package web

import (
	"testing"
	"time"

	"weir.dev/weir/internal/browser"
)

// TestPage runs the page in one Chromium against a fake router.
func TestPage(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *browser.Browser)
	}{
		{"screenshots", testScreenshots},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

// waitStreams waits until the page has opened n streams.
func waitStreams(t testing.TB, f *fakeRouter, n int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for f.streamCount() < n {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the page opened %d streams, expected %d", f.streamCount(), n)
		}
	}
}
