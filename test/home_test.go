package test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"weir.dev/weir/internal/browser"
	"weir.dev/weir/internal/harness"
)

// TestHome uses the front end as a visitor does, in a browser, with the real models behind it. With WEIR_SCREENSHOTS set
// to a folder the page's picture is kept there: docs/home.png is made so.
func TestHome(t *testing.T) {
	w := ownWeir(t, append([]string{"-f", harness.Path("knative")}, harness.Quick...)...)
	photo := sample(t, "china.jpg")
	photos := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(photo) }))
	defer photos.Close()
	tab := browser.Start(t).Tab(t, browser.Options{Width: 1280, Height: 1500, Timeout: 2 * time.Minute})
	tab.Open(w.URL("/home"))
	tab.WaitText("#live-state", "Connected")

	tab.WaitFor("document.querySelectorAll('#samples img').length >= 6")
	tab.Do(chromedp.Click(`#samples button[data-file="coffee.png"]`, chromedp.ByQuery))
	tab.WaitText(".bars", "espresso")
	tab.WaitText("#facts", "imagenet-lite0")

	// Another revision answers the same picture when it is chosen.
	choose := func(tag string) {
		// A tag is there when its revision has been ready.
		tab.WaitFor(`document.querySelector("#revision option[value='` + tag + `']")`)
		tab.Eval(`(() => { const r = document.querySelector("#revision"); r.value = "`+tag+`"; r.dispatchEvent(new Event("change", {bubbles: true})); })()`, nil)
	}
	choose("lite2")
	tab.WaitText("#facts", "imagenet-lite2")
	tab.WaitText(".bars", "espresso")

	// The router fetches a picture by its address.
	tab.Do(chromedp.SendKeys("#url", photos.URL+"/china.jpg\r", chromedp.ByQuery))
	tab.WaitText(".bars", "palace")

	// An upload, to the revision that has the traffic.
	choose("")
	tab.WaitText("#facts", "imagenet-lite0")
	tab.Do(chromedp.SetUploadFiles("#file", []string{harness.Path("build/samples/chelsea.png")}, chromedp.ByQuery))
	tab.WaitText(".bars", "tiger cat")

	tab.WaitText(".revision[data-revision=imagenet-lite0] .charts", "ready")
	if dir := os.Getenv("WEIR_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "home.png"), tab.Screenshot(""), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, url := range tab.Requests() {
		if !strings.HasPrefix(url, w.URL("/")) && !strings.HasPrefix(url, "blob:") && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asks %s", url)
		}
	}
	if p := tab.Problems(); len(p) > 0 {
		t.Errorf("the page complains: %q", p)
	}
}
