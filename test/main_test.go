// Package test is the behaviour suite: what a user of weir meets, against programs and models as `make build` made
// them. Nothing in it is faked.
package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// root is the checkout.
var root = func() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// quick are autoscaler settings under which a test sees the way back to zero in seconds. They are Knative's own keys.
var quick = []string{
	"--autoscaler", "stable-window=6s",
	"--autoscaler", "scale-to-zero-grace-period=2s",
}

// shared is the weir that tests which change nothing use together.
var shared struct {
	sync.Once
	weir *weir
	err  error
}

func TestMain(m *testing.M) {
	for _, f := range []string{"bin/weir", "bin/functions/imagenet", "build/models/imagenet/2", "build/reference/imagenet/1"} {
		if _, err := os.Stat(filepath.Join(root, f)); err != nil {
			fmt.Fprintf(os.Stderr, "%s is missing: make build\n", f)
			os.Exit(1)
		}
	}
	code := m.Run()
	if shared.weir != nil {
		if err := shared.weir.stop(); err != nil {
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
		dir, err := os.MkdirTemp("", "weir-test-")
		if err != nil {
			shared.err = err
			return
		}
		w, err := startWeir(dir, "-f", filepath.Join(root, "knative"))
		if err != nil {
			shared.err = err
			return
		}
		shared.weir = w
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.weir
}

// ownWeir starts a weir for one test and ends it with the test.
func ownWeir(t *testing.T, args ...string) *weir {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	w, err := startWeir(dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("weir's log ends:\n" + w.tail())
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	return w
}

// weir is a running `weir up`.
type weir struct {
	cmd   *exec.Cmd
	state string
	addr  string
	ended chan struct{}
	err   error

	mu    sync.Mutex
	lines []string
}

var upLine = regexp.MustCompile(`weir is up: http://([^/]+)/home`)

func startWeir(dir string, args ...string) (*weir, error) {
	w := &weir{state: filepath.Join(dir, "state"), ended: make(chan struct{})}
	args = append([]string{"up", "--state", w.state, "--listen", "127.0.0.1:0", "--allow-fetch", "127.0.0.0/8"}, args...)
	w.cmd = exec.Command(filepath.Join(root, "bin/weir"), args...)
	w.cmd.Dir = dir
	return w, w.start()
}

// start runs w.cmd and waits until it says that weir is up.
func (w *weir) start() error {
	// Its own group: a Ctrl-C in the terminal is for the test, which then ends weir.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := w.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	up := make(chan string, 1)
	go func() {
		defer close(w.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			w.mu.Lock()
			w.lines = append(w.lines, s.Text())
			w.mu.Unlock()
			if m := upLine.FindStringSubmatch(s.Text()); m != nil {
				up <- m[1]
			}
		}
		w.err = w.cmd.Wait()
	}()
	select {
	case w.addr = <-up:
		return nil
	case <-w.ended:
		return fmt.Errorf("weir ended: %v\n%s", w.err, w.tail())
	case <-time.After(60 * time.Second):
		return errors.Join(fmt.Errorf("weir is not up after 60 s\n%s", w.tail()), w.stop())
	}
}

// stop sends what Ctrl-C sends and waits for a clean end.
func (w *weir) stop() error {
	select {
	case <-w.ended:
		return nil // the test ended it itself
	default:
	}
	// To the whole group, as a terminal does: replicas are in groups of their own.
	if err := syscall.Kill(-w.cmd.Process.Pid, syscall.SIGINT); err != nil {
		return err
	}
	select {
	case <-w.ended:
	case <-time.After(60 * time.Second):
		_ = w.cmd.Process.Kill()
		return fmt.Errorf("weir did not end within 60 s of Ctrl-C\n%s", w.tail())
	}
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("weir ended with %d\n%s", code, w.tail())
	}
	return nil
}

func (w *weir) tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines[max(0, len(w.lines)-40):], "\n")
}

func (w *weir) url(path string) string { return "http://" + w.addr + path }

// run calls the weir command against this engine.
func (w *weir) run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin/weir"), append([]string{"--state", w.state}, args...)...)
	cmd.Dir = root
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// must calls the weir command and fails the test if it fails.
func (w *weir) must(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := w.run(t.Context(), args...)
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
