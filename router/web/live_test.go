package web

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"weir.dev/weir/internal/browser"
	"weir.dev/weir/knative"
)

const lite0 = ".revision[data-revision=imagenet-00001]"

// inked counts the pixels of the chart of requests per second that are drawn.
var inked = pixels(lite0+" .chart:nth-child(4) canvas") + `.filter((x, i) => i % 4 === 3 && x > 0).length`

func testLive(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	waitStreams(t, f, 1)
	start := time.Now().UnixMilli() - 100_000
	f.send(t, start, services(30))
	tab.WaitText("#live-state", "Connected")
	tab.WaitText(lite0+" .chart:nth-child(4)", "70.4")
	var before int
	tab.Eval(inked, &before)
	for i := range 100 {
		f.send(t, start+1000*int64(i+1), services(31+i))
	}
	tab.WaitFor(`document.querySelector("` + lite0 + ` .chart:nth-child(4) b").textContent === "0"`)
	var after int
	tab.Eval(inked, &after)
	if before == 0 || after < before+500 {
		t.Errorf("the chart has %d drawn pixels after 1 event and %d after 101, expected many more", before, after)
	}
	for selector, text := range map[string]string{
		lite0 + " .chip": "Idle",
		".revision[data-revision=imagenet-00002] .chip":             "Starting",
		".revision[data-revision=embed-00001] .chip":                "Failed",
		".revision[data-revision=embed-00001] .message":             "exit status 1 three times in a row",
		".revision[data-revision=imagenet-00002] .charts":           "0 ready\n1 wanted",
		".revision[data-revision=imagenet-00002] .about":            "0 % of traffic",
		".service[aria-label='Model embed'] .service-head .message": "see weir logs embed",
	} {
		tab.WaitText(selector, text)
	}
	var routers int
	tab.Eval(`document.querySelectorAll("[data-revision=router-00001]").length`, &routers)
	if routers != 0 {
		t.Error("the router shows among the models")
	}
	// Under the pointer the numbers are those of that time.
	tab.Eval(`document.querySelector("`+lite0+`").scrollIntoView({block: "center"})`, nil)
	var at []float64
	tab.Eval(`(() => { const r = document.querySelector("`+lite0+` .chart:nth-child(4) .u-over").getBoundingClientRect(); return [r.left + r.width * 0.75, r.top + r.height / 2]; })()`, &at)
	tab.Do(chromedp.MouseEvent("mouseMoved", at[0], at[1]))
	tab.WaitFor(`document.querySelector("#live-at").textContent.includes(" at ")`)
	tab.WaitFor(`parseFloat(document.querySelector("` + lite0 + ` .chart:nth-child(4) b").textContent) > 50`)
	checkQuiet(t, f, tab)
}

func testReconnect(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	waitStreams(t, f, 1)
	f.send(t, 1_700_000_000_000, services(30))
	tab.WaitText("#live-state", "Connected")
	f.set(func(f *fakeRouter) { f.refuse = true })
	f.endStreams()
	tab.WaitText("#live-state", "Lost the connection. Next try in")
	f.set(func(f *fakeRouter) { f.refuse = false })
	tab.Eval("document.querySelector('#live-retry').click()", nil)
	waitStreams(t, f, 1)
	f.send(t, 1_700_000_005_000, services(50))
	tab.WaitText("#live-state", "Connected")
	f.endStreams()
	waitStreams(t, f, 1) // by itself
	f.send(t, 1_700_000_010_000, services(50))
	tab.WaitText("#live-state", "Connected")
	refused := func(p string) bool { return strings.Contains(p, "503") && strings.HasSuffix(p, "/home/live") }
	if p := slices.DeleteFunc(tab.Problems(), refused); len(p) > 0 {
		t.Errorf("the page complained: %q", p)
	}
}

func testNewRevision(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	waitStreams(t, f, 1)
	f.send(t, 1_700_000_000_000, services(30))
	tab.WaitFor("document.querySelectorAll('.revision').length === 4")
	lists := func() (n int) {
		for _, r := range tab.Requests() {
			if strings.HasSuffix(r, "/v1/models") {
				n++
			}
		}
		return n
	}
	before := lists()
	more := services(31)
	more[2].Revisions = append(more[2].Revisions, knative.RevisionStatus{Name: "imagenet-00003", Tags: []string{"next"}, State: knative.StateStarting})
	f.send(t, 1_700_000_001_000, more)
	tab.WaitFor("document.querySelectorAll('.revision').length === 5")
	f.send(t, 1_700_000_002_000, services(32)[:1])
	tab.WaitFor("document.querySelectorAll('.revision').length === 1 && document.querySelectorAll('.service').length === 1")
	if got := lists() - before; got < 1 {
		t.Error("the models were not listed again after a revision came")
	}
	checkQuiet(t, f, tab)
}
