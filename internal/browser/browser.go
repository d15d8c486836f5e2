// Package browser drives a headless Chromium in tests of web pages. It is for tests only.
package browser

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// startTimeout bounds the time until Chromium answers: it may be its first start on a busy machine.
const startTimeout = 60 * time.Second

// Browser is one running Chromium. Its tabs share nothing but the process, and are safe to use from parallel tests.
type Browser struct {
	ctx context.Context
}

// errMissing says what to do about a machine without a browser.
var errMissing = errors.New("no Chromium found: install one (apt-get install chromium, brew install --cask chromium) or set CHROMIUM to its path")

// Find returns the path of a Chromium: the environment's CHROMIUM, else the first that PATH has.
func Find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return exec.LookPath(path)
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errMissing
}

// Start starts a Chromium that ends with the test. A machine without one fails the test.
func Start(t testing.TB) *Browser {
	t.Helper()
	path, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	// A folder that is not t.TempDir: Chromium's children write to it for a moment after it ended.
	dir, err := os.MkdirTemp("", "weir-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	alloc, cancel := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(dir),
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(startTimeout),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-default-apps", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-extensions", true),
		chromedp.Flag("disable-background-timer-throttling", true),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
		chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("no-proxy-server", true),
	)
	t.Cleanup(cancel)
	ctx, cancelBrowser := chromedp.NewContext(alloc)
	t.Cleanup(cancelBrowser)
	if err := chromedp.Run(ctx); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	// Ending it in order lets it remove its own files.
	t.Cleanup(func() { _ = chromedp.Cancel(ctx) })
	return &Browser{ctx: ctx}
}
