package web

import (
	"net/url"
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
		{"a sample gives bars and facts", testSample},
		{"an upload is sent as it is", testUpload},
		{"a WebP upload is sent as PNG", testUploadConverted},
		{"a drop of a file", testDrop},
		{"a paste of a picture and of an address", testPaste},
		{"an address is fetched and predicted", testAddress},
		{"the example address", testExampleAddress},
		{"an address that is none", testBadAddress},
		{"a chosen revision is asked by its tag", testRevision},
		{"the choice is in the address", testLinkedChoice},
		{"a vector", testVector},
		{"a JSON model", testJSON},
		{"errors are shown and tried again", testErrors},
		{"progress and cancelling with Esc", testCancel},
		{"the keyboard alone", testKeyboard},
		{"live charts draw and update", testLive},
		{"a lost stream is said and connected again", testReconnect},
		{"a new revision shows in the choice", testNewRevision},
		{"no models, or no list of them", testNoModels},
		{"no horizontal scroll at 360 px", testNarrow},
		{"both colour schemes", testScreenshots},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, b)
		})
	}
}

// open opens the page on a fake router. At the test's end it must not have asked another host for anything, nor have
// complained, but for what the test expected.
func open(t *testing.T, b *browser.Browser, f *fakeRouter, o browser.Options) *browser.Tab {
	t.Helper()
	tab := b.Tab(t, o)
	tab.Open(f.url + "/home")
	tab.WaitFor("!document.querySelector('#model').disabled && document.querySelectorAll('#samples img').length === 2")
	return tab
}

// checkQuiet fails the test if the page asked another host for anything or complained.
func checkQuiet(t *testing.T, f *fakeRouter, tab *browser.Tab) {
	t.Helper()
	home, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range tab.Requests() {
		if u, err := url.Parse(r); err != nil || u.Host != home.Host {
			t.Errorf("the page asked %s, expected requests to %s only", r, home.Host)
		}
	}
	if p := tab.Problems(); len(p) > 0 {
		t.Errorf("the page complained: %q", p)
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

// pixels is JavaScript for the bytes of a canvas. They are read from a copy: of a canvas that is read twice, as it is where a
// test waits for what is drawn, Chromium complains.
func pixels(canvas string) string {
	return `((c) => { const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", {willReadFrequently: true});
		copy.drawImage(c, 0, 0);
		return copy.getImageData(0, 0, c.width, c.height).data; })(document.querySelector("` + canvas + `"))`
}
