package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// Options of a tab. The zero value works.
type Options struct {
	// Width and Height of the window in CSS pixels. If zero, 1280 x 900.
	Width, Height int64
	// Scale is the device's pixels per CSS pixel. If zero, 1.
	Scale float64
	// Dark asks for the dark colour scheme.
	Dark bool
	// Timeout bounds everything the tab does, together. If zero, 60 s.
	Timeout time.Duration
}

// Tab is one page with cookies and storage of its own. It records what the page asks of the network and what it
// complains about. Its methods fail the test on error; only the test's goroutine may use them.
type Tab struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	requests []string
	problems []string
}

// Tab opens a tab that closes with the test. Motion is reduced, so that nothing has to be waited for.
func (b *Browser) Tab(t testing.TB, o Options) *Tab {
	t.Helper()
	if o.Width == 0 {
		o.Width, o.Height = 1280, 900
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	scheme := "light"
	if o.Dark {
		scheme = "dark"
	}
	id, err := b.newTarget()
	if err != nil {
		t.Fatalf("browser: opening a tab: %v", err)
	}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id))
	t.Cleanup(cancel)
	ctx, cancelTimeout := context.WithTimeout(ctx, o.Timeout)
	t.Cleanup(cancelTimeout)
	tab := &Tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, tab.record)
	tab.Do(
		network.Enable(),
		log.Enable(),
		chromedp.EmulateViewport(o.Width, o.Height, chromedp.EmulateScale(o.Scale)),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"},
		}),
	)
	return tab
}

// newTarget opens a window with storage of its own. chromedp's WithNewBrowserContext does not ask for a window, without
// which a new headless Chromium opens nothing.
func (b *Browser) newTarget() (target.ID, error) {
	ctx := cdp.WithExecutor(b.ctx, chromedp.FromContext(b.ctx).Browser)
	space, err := target.CreateBrowserContext().WithDisposeOnDetach(true).Do(ctx)
	if err != nil {
		return "", err
	}
	return target.CreateTarget("about:blank").WithBrowserContextID(space).WithNewWindow(true).Do(ctx)
}

// Do runs chromedp's actions.
func (tab *Tab) Do(actions ...chromedp.Action) {
	tab.t.Helper()
	if err := chromedp.Run(tab.ctx, actions...); err != nil {
		tab.t.Fatalf("browser: %v\npage: %v", err, tab.Problems())
	}
}

// Open loads a page.
func (tab *Tab) Open(url string) {
	tab.t.Helper()
	tab.Do(chromedp.Navigate(url))
}

// Eval evaluates JavaScript and decodes its value, or what its promise resolves to, into out; nil drops it.
func (tab *Tab) Eval(expression string, out any) {
	tab.t.Helper()
	if err := tab.eval(expression, out); err != nil {
		tab.t.Fatalf("browser: %s: %v", expression, err)
	}
}

func (tab *Tab) eval(expression string, out any) error {
	return chromedp.Run(tab.ctx, chromedp.Evaluate(expression, out, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true).WithReturnByValue(true)
	}))
}

// WaitFor evaluates JavaScript until it is true; after 20 s the test fails and shows what the page says.
func (tab *Tab) WaitFor(expression string) {
	tab.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		err := tab.eval("Boolean("+expression+")", &ok)
		if ok {
			return
		}
		if time.Now().After(deadline) || tab.ctx.Err() != nil {
			var text string
			_ = tab.eval("document.body.innerText", &text)
			tab.t.Fatalf("browser: never true: %s (%v)\nproblems: %v\npage:\n%s", expression, err, tab.Problems(), text)
		}
		select {
		case <-tick.C:
		case <-tab.ctx.Done():
		}
	}
}

// WaitText waits until the visible text of the element contains text.
func (tab *Tab) WaitText(selector, text string) {
	tab.t.Helper()
	tab.WaitFor(fmt.Sprintf("document.querySelector(%s)?.innerText.includes(%s)", quote(selector), quote(text)))
}

// Text returns the visible text of an element, "" if there is none.
func (tab *Tab) Text(selector string) string {
	tab.t.Helper()
	var text string
	tab.Eval(fmt.Sprintf("document.querySelector(%s)?.innerText ?? ''", quote(selector)), &text)
	return text
}

// Screenshot returns the whole page as PNG, or, with a selector, that element.
func (tab *Tab) Screenshot(selector string) []byte {
	tab.t.Helper()
	var png []byte
	if selector == "" {
		tab.Do(chromedp.FullScreenshot(&png, 100))
	} else {
		tab.Do(chromedp.Screenshot(selector, &png, chromedp.ByQuery))
	}
	return png
}

// Requests returns the addresses that the page asked for, in order, blob: and data: ones left out.
func (tab *Tab) Requests() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.requests)
}

// Problems returns the page's exceptions, console errors and warnings, and what a policy refused.
func (tab *Tab) Problems() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.problems)
}

func (tab *Tab) record(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, "blob:") && !strings.HasPrefix(url, "data:") {
			tab.requests = append(tab.requests, url)
		}
	case *network.EventWebSocketCreated:
		tab.requests = append(tab.requests, e.URL)
	case *runtime.EventExceptionThrown:
		tab.problems = append(tab.problems, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			tab.problems = append(tab.problems, fmt.Sprintf("console.%s: %s", e.Type, arguments(e.Args)))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			tab.problems = append(tab.problems, fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	}
}

func arguments(args []*runtime.RemoteObject) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = string(a.Value) + a.Description
	}
	return strings.Join(words, " ")
}

// quote writes a string as JavaScript.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("browser: quoting %q: %v", s, err))
	}
	return string(b)
}
