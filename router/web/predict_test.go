package web

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/browser"
	"weir.dev/weir/internal/soon"
)

const fiveBars = "document.querySelectorAll('.bars li').length === 5"

func testSample(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.Click("#samples li:nth-child(2) button", chromedp.ByQuery))
	tab.WaitFor(fiveBars)
	want := "tiger cat\n52.1 %\nEgyptian cat\n22.5 %\ntabby, tabby cat\n14.0 %\nlynx, catamount\n1.21 %\n<b>hoop</b>\n0.49 %"
	if got := tab.Text(".bars"); got != want {
		t.Errorf("bars read %q, expected %q", got, want)
	}
	tab.WaitText("#facts", "imagenet-00001")
	tab.WaitText("#facts", "13 ms of it in the queue")
	tab.WaitText("#facts", "Warm")
	tab.WaitText("#caption", "Another ring · CC0 · source")
	tab.WaitText("#curl", f.url+"/home/samples/ring2.png |")
	var widths []float64
	tab.Eval("[...document.querySelectorAll('.bar')].map((x) => x.getBoundingClientRect().width / x.parentElement.getBoundingClientRect().width)", &widths)
	if len(widths) != 5 || widths[0] < 0.515 || widths[0] > 0.527 || widths[1] < 0.22 || widths[1] > 0.23 {
		t.Errorf("the bars fill %v of their tracks, expected 0.5213, 0.2251, …", widths)
	}
	want2 := []asked{{Model: "imagenet", Type: "image/png", Body: picture(t, 300, 400)}}
	if d := cmp.Diff(want2, f.predictions()); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	checkQuiet(t, f, tab)
}

func testUpload(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	name := filepath.Join(t.TempDir(), "it's mine.png")
	if err := os.WriteFile(name, picture(t, 90, 60), 0o600); err != nil {
		t.Fatal(err)
	}
	tab.Do(chromedp.SetUploadFiles("#file", []string{name}, chromedp.ByQuery))
	tab.WaitFor(fiveBars)
	if d := cmp.Diff([]asked{{Model: "imagenet", Type: "image/png", Body: picture(t, 90, 60)}}, f.predictions()); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	tab.WaitText("#curl", `'@it'\''s mine.png'`)
	tab.WaitFor("document.querySelector('#picture').naturalWidth === 90")
	checkQuiet(t, f, tab)
}

// giveFile hands a file that the page's own code makes to an input of the page, by a drop or a paste.
const giveFile = `(async () => {
	const canvas = Object.assign(document.createElement("canvas"), {width: 40, height: 30});
	canvas.getContext("2d").fillRect(5, 5, 20, 20);
	const blob = await new Promise((done) => canvas.toBlob(done, %q));
	const data = new DataTransfer();
	data.items.add(new File([blob], %q, {type: blob.type}));
	%s
})()`

func testUploadConverted(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Eval(fmt.Sprintf(giveFile, "image/webp", "a.webp", `const input = document.querySelector("#file");
		input.files = data.files; input.dispatchEvent(new Event("change", {bubbles: true}))`), nil)
	tab.WaitFor(fiveBars)
	checkDrawn(t, f, "image/png")
	tab.WaitText("#curl", "@a.png")
}

func testDrop(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Eval(fmt.Sprintf(giveFile, "image/png", "dropped.png", `document.querySelector("#drop").dispatchEvent(
		new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}))`), nil)
	tab.WaitFor(fiveBars)
	checkDrawn(t, f, "image/png")
	tab.WaitText("#curl", "@dropped.png")
}

func testPaste(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Eval(fmt.Sprintf(giveFile, "image/png", "image.png", `document.body.dispatchEvent(
		new ClipboardEvent("paste", {clipboardData: data, bubbles: true}))`), nil)
	tab.WaitFor(fiveBars)
	checkDrawn(t, f, "image/png")
	tab.Eval(`(() => { const data = new DataTransfer(); data.setData("text/plain", "https://pictures.example/dog.png");
		document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true})); })()`, nil)
	tab.WaitText("#curl", "https://pictures.example/dog.png")
	checkQuiet(t, f, tab)
}

// checkDrawn checks that what was asked first is the 40 x 30 picture of giveFile.
func checkDrawn(t *testing.T, f *fakeRouter, contentType string) {
	t.Helper()
	got := f.predictions()[0]
	c, err := png.DecodeConfig(bytes.NewReader(got.Body))
	if got.Type != contentType || err != nil || c.Width != 40 || c.Height != 30 {
		t.Errorf("asked with %s of %d x %d (%v), expected %s of 40 x 30", got.Type, c.Width, c.Height, err, contentType)
	}
}

func testAddress(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.SendKeys("#url", "pictures.example/a%20cat.png?x=1\r", chromedp.ByQuery))
	tab.WaitFor(fiveBars)
	if d := cmp.Diff([]string{"https://pictures.example/a%20cat.png?x=1"}, f.fetched); d != "" {
		t.Errorf("fetched (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]asked{{Model: "imagenet", Type: "image/png", Body: picture(t, 300, 300)}}, f.predictions()); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	tab.WaitText("#curl", "curl -s 'https://pictures.example/a%20cat.png?x=1' |")
	tab.WaitText("#caption", "pictures.example")
	checkQuiet(t, f, tab)
}

func testExampleAddress(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.Click("#example-url", chromedp.ByQuery))
	tab.WaitFor(fiveBars)
	if d := cmp.Diff([]string{"https://tensorflow.org/images/blogs/serving/cat.jpg"}, f.fetched); d != "" {
		t.Errorf("fetched (-want +got):\n%s", d)
	}
	checkQuiet(t, f, tab)
}

func testBadAddress(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.SendKeys("#url", "ftp://x.example/a.png\r", chromedp.ByQuery))
	tab.WaitText("#problem", "http:// or https://")
	tab.Eval("document.querySelector('#url').value = ''", nil)
	tab.Do(chromedp.SendKeys("#url", "http://private.example/a.png\r", chromedp.ByQuery))
	tab.WaitText("#problem", "Address 10.0.0.1 is not public.")
	if got := f.predictions(); len(got) != 0 {
		t.Errorf("asked for %d predictions, expected none", len(got))
	}
}

func testRevision(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	var choices []string
	tab.Eval("[...document.querySelectorAll('#revision option')].map((o) => o.textContent)", &choices)
	want := []string{"By traffic (lite0 100 %)", "lite0 · version 1 · imagenet-00001", "lite2 · version 2 · imagenet-00002"}
	if d := cmp.Diff(want, choices); d != "" {
		t.Errorf("revisions to choose from (-want +got):\n%s", d)
	}
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitText("#facts", "imagenet-00001")
	choose(tab, "#revision", "lite2")
	tab.WaitText("#facts", "imagenet-00002")
	tab.WaitText("#facts", "Cold start")
	tab.WaitText("#facts", "tag lite2")
	tab.WaitText("#curl", "-H 'X-Weir-Tag: lite2'")
	got := f.predictions()
	if len(got) != 2 || got[0].Tag != "" || got[1].Tag != "lite2" {
		t.Errorf("asked %d times, expected twice, without a tag and with lite2", len(got))
	}
	checkQuiet(t, f, tab)
}

// choose sets a select as a user does.
func choose(tab *browser.Tab, selector, value string) {
	tab.Eval(fmt.Sprintf(`(() => { const s = document.querySelector(%q); s.value = %q; s.dispatchEvent(new Event("change")); })()`, selector, value), nil)
}

func testLinkedChoice(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	choose(tab, "#revision", "lite2")
	tab.WaitFor("location.hash === '#model=imagenet&tag=lite2'")
	tab.Eval("location.hash = '#model=digits&tag=v1'", nil)
	tab.WaitFor("document.querySelector('#model').value === 'digits' && document.querySelector('#revision').value === 'v1'")
	tab.Eval("location.reload()", nil)
	tab.WaitFor("!document.querySelector('#model').disabled && document.querySelector('#model').value === 'digits' && document.querySelector('#revision').value === 'v1'")
}

func testVector(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitFor(fiveBars)
	choose(tab, "#model", "embed")
	tab.WaitText(".vector", "1280")
	tab.WaitFor(`[...document.querySelectorAll(".vector dd")].every((d) => /^[\d.]+$/.test(d.textContent))`)
	tab.WaitFor(`document.querySelector(".vector canvas").width > 300 && ` + pixels(".vector canvas") + `.some((x) => x > 0)`)
	// A clipboard needs a permission that a headless browser does not give: what is written is caught instead.
	tab.Eval(`navigator.clipboard.writeText = async (text) => { window.copied = text; }`, nil)
	tab.Do(chromedp.Click(".vector button", chromedp.ByQuery))
	tab.WaitText(".vector button", "Copied")
	tab.WaitFor("JSON.parse(window.copied).length === 1280")
	checkQuiet(t, f, tab)
}

func testJSON(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	tab := open(t, b, f, browser.Options{})
	choose(tab, "#model", "digits")
	tab.Do(chromedp.WaitVisible("#json", chromedp.ByQuery), chromedp.WaitNotVisible("#url", chromedp.ByQuery))
	tab.Do(chromedp.Click("#json-input button.primary", chromedp.ByQuery))
	tab.WaitText("#problem", "no body yet")
	tab.Do(chromedp.Click("#json-example", chromedp.ByQuery))
	tab.WaitFor(`(() => { const one = JSON.parse(document.querySelector("#json").value).instances;
		return one.length === 1 && one[0].length === 8 && one[0][0].length === 8 && one[0][0][0].length === 1; })()`)
	tab.Do(chromedp.Click("#json-input button.primary", chromedp.ByQuery))
	tab.WaitText(".bars", "Class 0\n91.0 %")
	tab.WaitText(".json pre", `"predictions"`)
	tab.WaitText("#curl", "Content-Type: application/json")
	if got := f.predictions(); len(got) != 1 || got[0].Type != "application/json" || !strings.Contains(string(got[0].Body), "instances") {
		t.Errorf("asked %q, expected one JSON body", got)
	}
	tab.Do(chromedp.SetValue("#json", "{\"instances\": [", chromedp.ByQuery), chromedp.Click("#json-input button.primary", chromedp.ByQuery))
	tab.WaitText("#problem", "The body is no JSON")
	checkQuiet(t, f, tab)
}

func testErrors(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	f.predict = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"error": "the queue of <i>imagenet</i> is full"}`))
	}
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitText("#problem", "The model is busy or not ready. The queue of <i>imagenet</i> is full. Try again in 7 s.")
	f.set(func(f *fakeRouter) { f.predict = nil })
	tab.Do(chromedp.Click("#problem button", chromedp.ByQuery))
	tab.WaitFor(fiveBars)
	tab.WaitFor("document.querySelector('#problem').hidden")
	f.set(func(f *fakeRouter) {
		f.predict = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }
	})
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitText("#problem", "no JSON")
	f.set(func(f *fakeRouter) {
		f.predict = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	})
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitText("#problem", "This page cannot reach weir.")
}

func testCancel(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	gone := make(chan struct{})
	f.predict = func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	}
	tab := open(t, b, f, browser.Options{})
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitText("#progress", "waking the model…")
	tab.Do(chromedp.KeyEvent("\x1b"))
	tab.WaitText("#result", "Cancelled")
	tab.WaitFor("document.querySelector('#progress').hidden")
	soon.Next(t, "the request's end", gone)
	checkQuiet(t, f, tab)
}

func testNoModels(t *testing.T, b *browser.Browser) {
	f := newFakeRouter(t)
	f.models = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	tab := b.Tab(t, browser.Options{})
	tab.Open(f.url + "/home")
	tab.WaitText("#models-note", "The models cannot be listed.")
	f.set(func(f *fakeRouter) {
		f.models = func(w http.ResponseWriter, _ *http.Request) { write(w, `{"models": []}`) }
	})
	tab.Do(chromedp.Click("#models-note button", chromedp.ByQuery))
	tab.WaitText("#models-note", "No model is deployed yet. weir deploy NAME --model DIR deploys one.")
	tab.WaitFor("document.querySelector('#model').disabled")
	// A sample is shown all the same, and predicted once a model is there.
	tab.Do(chromedp.Click("#samples button", chromedp.ByQuery))
	tab.WaitFor("document.querySelector('#picture').naturalWidth === 480")
	f.set(func(f *fakeRouter) { f.models = nil })
	waitStreams(t, f, 1)
	f.send(t, 1_700_000_000_000, nil)
	f.send(t, 1_700_000_001_000, services(30))
	tab.WaitFor(fiveBars)
}
