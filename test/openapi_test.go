package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"weir.dev/weir/internal/browser"
)

// TestOpenAPIPage tries the REST API on the page that shows it, in a browser: from /home, over the list of operations, to
// a real model's answer. With WEIR_SCREENSHOTS set to a folder the pictures are kept there.
func TestOpenAPIPage(t *testing.T) {
	w := sharedWeir(t)
	b := browser.Start(t)
	row := "[" + strings.TrimSuffix(strings.Repeat("[0.5],", 8), ",") + "]"
	body := `{"instances":[[` + strings.TrimSuffix(strings.Repeat(row+",", 8), ",") + "]]}"
	const operation = `[data-path="/v1/models/{model}:predict"]`
	for _, width := range []int64{1280, 400} {
		t.Run(strconv.FormatInt(width, 10), func(t *testing.T) {
			tab := b.Tab(t, browser.Options{Width: width, Height: 900})
			tab.Open(w.URL("/home"))
			tab.Do(chromedp.Click(`.top a[href="/openapi"]`, chromedp.ByQuery))
			tab.WaitFor(fmt.Sprintf("document.querySelectorAll('.opblock').length >= 30 && document.querySelector('%s')", operation))
			shot(t, tab, fmt.Sprintf("openapi-%d.png", width))
			tab.Eval(fmt.Sprintf(`(() => {
				const path = document.querySelector('%s');
				path.closest(".opblock").id = "tried";
				path.closest("button").click();
			})()`, operation), nil)
			tab.WaitFor("document.querySelector('#tried textarea') && document.querySelector('#tried .execute')")
			// As a person does: choose the model, replace the body, press the button. The page's framework looks for events.
			tab.Eval(`(() => {
				const set = (element, value) => {
					Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), "value").set.call(element, value);
					element.dispatchEvent(new Event("input", {bubbles: true}));
					element.dispatchEvent(new Event("change", {bubbles: true}));
				};
				set(document.querySelector("#tried .parameters select"), "digits");
			})()`, nil)
			tab.Eval(`(() => {
				const area = document.querySelector("#tried textarea");
				Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, `+strconv.Quote(body)+`);
				area.dispatchEvent(new Event("input", {bubbles: true}));
			})()`, nil)
			tab.Do(chromedp.Click("#tried .execute", chromedp.ByQuery))
			tab.WaitText("#tried .live-responses-table .response .response-col_status", "200")
			tab.WaitText("#tried .live-responses-table .response .response-col_description", `"predictions"`)
			shot(t, tab, fmt.Sprintf("openapi-%d-tried.png", width))
			var over float64
			tab.Eval("document.documentElement.scrollWidth - innerWidth", &over)
			if over > 0 {
				t.Errorf("the page is %v px wider than the window", over)
			}
			for _, url := range tab.Requests() {
				if !strings.HasPrefix(url, w.URL("/")) {
					t.Errorf("the page asks %s", url)
				}
			}
			if p := tab.Problems(); len(p) > 0 {
				t.Errorf("the page complains: %q", p)
			}
		})
	}
}

// shot keeps a picture of the page if WEIR_SCREENSHOTS says where.
func shot(t *testing.T, tab *browser.Tab, name string) {
	t.Helper()
	if dir := os.Getenv("WEIR_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), tab.Screenshot(""), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
