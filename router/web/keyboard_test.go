package web

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"weir.dev/weir/internal/browser"
)

// focused is what has the focus: its id, else its label or text.
const focused = `(() => { const e = document.activeElement; return e.id || e.getAttribute("aria-label") || e.title || e.innerText; })()`

func testKeyboard(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	want := []string{"Skip to predicting", "API", "model", "revision", "url", "Fetch", "file", "example-url", "A ring"}
	for _, w := range want {
		tab.Do(chromedp.KeyEvent(kb.Tab))
		var got string
		tab.Eval(focused, &got)
		if got != w {
			t.Fatalf("Tab reached %q, expected %q", got, w)
		}
		var ring bool
		tab.Eval(`(() => { const e = document.activeElement, s = getComputedStyle(e.id === "file" ? e.parentElement : e); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; })()`, &ring)
		if !ring {
			t.Errorf("%q has no focus ring", w)
		}
	}
	tab.Do(chromedp.KeyEvent(kb.Enter))
	tab.WaitFor(fiveBars)
	tab.WaitFor("document.querySelector('#samples button').getAttribute('aria-pressed') === 'true'")
	// Back to the revisions, one down twice: lite2.
	for range 5 {
		tab.Do(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(8)))
	}
	tab.WaitFor(focused + " === 'revision'")
	tab.Do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.ArrowDown))
	tab.WaitText("#facts", "imagenet-00002")
	var unnamed []string
	tab.Eval(`[...document.querySelectorAll("button, input, select, textarea")].filter((e) =>
		!(e.innerText.trim() || e.textContent.trim() || e.title || e.labels?.length || e.querySelector("img[alt]"))).map((e) => e.outerHTML)`, &unnamed)
	if len(unnamed) > 0 {
		t.Errorf("controls without a name: %q", unnamed)
	}
	checkQuiet(t, f, tab)
}

func testNarrow(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{Width: 360, Height: 740})
	waitStreams(t, f, 1)
	f.send(t, 1_700_000_000_000, services(60))
	tab.WaitFor("document.querySelectorAll('.revision').length === 4")
	for _, model := range []string{"imagenet", "embed", "digits"} {
		choose(tab, "#model", model)
		if model == "digits" {
			tab.Do(chromedp.Click("#json-example", chromedp.ByQuery))
			tab.WaitFor("document.querySelector('#json').value !== ''")
			tab.Do(chromedp.Click("#json-input button.primary", chromedp.ByQuery))
		} else {
			tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
		}
		tab.WaitFor("!document.querySelector('#facts').hidden")
		var wide []string
		tab.Eval(`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > 361 && !e.closest(".plot, .skip, .unseen, pre"))
			.map((e) => e.tagName + "." + e.className)`, &wide)
		var scroll float64
		tab.Eval("document.documentElement.scrollWidth", &scroll)
		if scroll > 360 || len(wide) > 0 {
			t.Errorf("with %s the page is %v px wide at 360 px: %q reach out", model, scroll, wide)
		}
	}
	checkQuiet(t, f, tab)
}
