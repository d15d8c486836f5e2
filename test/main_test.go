// Package test is the behaviour suite: what a user of weir meets, against programs and models as `make build` made
// them. Nothing in it is faked.
package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// shared is the weir that tests which change nothing use together.
var shared struct {
	sync.Once
	weir *weir
	err  error
}

func TestMain(m *testing.M) {
	if err := harness.CheckBuilt(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if harness.OnCluster() {
		harness.UseIngress()
	}
	code := m.Run()
	if shared.weir != nil {
		if err := shared.weir.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "the shared weir did not end well:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// sharedWeir returns a running weir with the project's own manifests. Tests that deploy, kill or scale start their own.
func sharedWeir(t *testing.T) *weir {
	t.Helper()
	shared.Do(func() {
		dir, err := os.MkdirTemp("", "weir-suite-")
		if err != nil {
			shared.err = err
			return
		}
		start := func() (*harness.Weir, error) { return harness.Start(dir, "-f", harness.Path("knative")) }
		if harness.OnCluster() {
			start = func() (*harness.Weir, error) {
				return harness.Join(context.Background(), filepath.Base(dir), dir, "knative/overlays/kind", "knative/overlays/next")
			}
		}
		w, err := start()
		if err != nil {
			shared.err = err
			return
		}
		shared.weir = &weir{w}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.weir
}

// ownWeir starts a weir for one test and ends it with the test.
func ownWeir(t *testing.T, args ...string) *weir {
	t.Helper()
	return own(t, func(dir string) (*harness.Weir, error) { return harness.Start(dir, args...) })
}

// own ends a weir with its test.
func own(t *testing.T, start func(dir string) (*harness.Weir, error)) *weir {
	t.Helper()
	h, err := start(shortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &weir{h}
	t.Cleanup(func() {
		if t.Failed() {
			// Not here: what failed would stand too far above the test's last line to be seen.
			file := harness.Path("build/failed", t.Name()+".log")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(w.Tail()), 0o644)); err != nil {
				t.Error(err)
			}
			t.Log("weir's log: " + file)
		}
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// shortDir is t.TempDir with a path short enough for a Unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// weir is a running `weir up` with a test's short ways to use it.
type weir struct{ *harness.Weir }

// must calls the weir command and fails the test if it fails.
func (w *weir) must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := w.Run(t.Context(), args...)
	if err != nil {
		t.Fatalf("weir %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// answer is an HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// await polls a condition that another process makes true; it fails the test after the time given.
func await(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
