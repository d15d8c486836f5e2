// Package harness starts the programs that `make build` made, as a user does, for the behaviour suite and the
// benchmarks.
package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"weir.dev/weir/knative"
)

// Root is the checkout.
var Root = func() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("harness: the program was built without file names")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}()

// Quick are autoscaler settings under which one sees the way back to zero in seconds. They are Knative's own keys.
var Quick = []string{
	"--autoscaler", "stable-window=6s",
	"--autoscaler", "scale-to-zero-grace-period=2s",
}

// Path is a path in the checkout.
func Path(elem ...string) string { return filepath.Join(append([]string{Root}, elem...)...) }

// CheckBuilt says what is missing for a run, and what makes it.
func CheckBuilt() error {
	for _, f := range []string{"bin/weir", "bin/functions/imagenet", "build/models/imagenet/2", "build/reference/imagenet/1"} {
		if _, err := os.Stat(Path(f)); err != nil {
			return fmt.Errorf("%s is missing: make build", f)
		}
	}
	return nil
}

// Weir is a running `weir up`.
type Weir struct {
	State string     // its state folder
	Addr  string     // host[:port] it serves on
	on    *namespace // nil on one machine
	cmd   *exec.Cmd
	ended chan struct{}
	err   error

	mu    sync.Mutex
	lines []string
}

var upLine = regexp.MustCompile(`weir is up: http://([^/]+)/home`)

// Start runs weir up with its state below dir, on a free port.
func Start(dir string, args ...string) (*Weir, error) {
	w := &Weir{State: filepath.Join(dir, "state")}
	args = append([]string{"up", "--state", w.State, "--listen", "127.0.0.1:0", "--allow-fetch", "127.0.0.0/8"}, args...)
	w.cmd = exec.Command(Path("bin/weir"), args...)
	w.cmd.Dir = dir
	return w, w.start()
}

// Make runs `make run` on an address, as the README says.
func Make(dir, listen string) (*Weir, error) {
	w := &Weir{State: filepath.Join(dir, "state")}
	w.cmd = exec.Command("make", "run", "LISTEN="+listen)
	w.cmd.Dir = Root
	w.cmd.Env = append(os.Environ(), "WEIR_STATE="+w.State)
	return w, w.start()
}

// start runs w.cmd and waits until it says that weir is up.
func (w *Weir) start() error {
	w.ended = make(chan struct{})
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
	case w.Addr = <-up:
		return nil
	case <-w.ended:
		return fmt.Errorf("weir ended: %w\n%s", w.err, w.Tail())
	case <-time.After(2 * time.Minute):
		return errors.Join(fmt.Errorf("weir is not up after 2 minutes\n%s", w.Tail()), w.Stop())
	}
}

// Stop sends what Ctrl-C sends and waits for a clean end. It does nothing if weir has ended already.
func (w *Weir) Stop() error {
	if w.on != nil {
		return w.on.stop()
	}
	select {
	case <-w.ended:
		return nil
	default:
	}
	// To the whole group, as a terminal does: replicas are in groups of their own.
	if err := syscall.Kill(-w.cmd.Process.Pid, syscall.SIGINT); err != nil {
		return err
	}
	select {
	case <-w.ended:
	case <-time.After(time.Minute):
		return errors.Join(fmt.Errorf("weir did not end within a minute of Ctrl-C\n%s", w.Tail()), w.Kill())
	}
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("weir ended with %d\n%s", code, w.Tail())
	}
	return nil
}

// Kill ends weir as a crash does: its replicas stay.
func (w *Weir) Kill() error {
	if err := w.cmd.Process.Kill(); err != nil {
		return err
	}
	<-w.ended
	return nil
}

// Ended is closed when weir has ended.
func (w *Weir) Ended() <-chan struct{} { return w.ended }

// Tail returns the last lines of weir's log, without those of requests that were answered: they would be all of it.
func (w *Weir) Tail() string {
	if w.on != nil {
		return w.on.tail()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	told := slices.DeleteFunc(slices.Clone(w.lines), func(line string) bool {
		return strings.Contains(line, `"status":200,`) && strings.Contains(line, `"message":"request"`)
	})
	return strings.Join(told[max(0, len(told)-40):], "\n")
}

// URL is the address of a path.
func (w *Weir) URL(path string) string { return "http://" + w.Addr + path }

// Host is the host name of a service, or of a tag of one: TAG-SERVICE.
func (w *Weir) Host(name string) string {
	if w.on != nil {
		return name + strings.TrimPrefix(w.Addr, "router")
	}
	return name + ".default.localhost"
}

// Run calls the weir command against this engine.
func (w *Weir) Run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	if w.on != nil {
		args = w.on.command(args)
	} else {
		args = append([]string{"--state", w.State}, args...)
	}
	cmd := exec.CommandContext(ctx, Path("bin/weir"), args...)
	cmd.Dir = Root
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// Status is what `weir status -o json` prints.
func (w *Weir) Status(ctx context.Context) ([]knative.ServiceStatus, error) {
	out, errs, err := w.Run(ctx, "status", "-o", "json")
	if err != nil {
		return nil, fmt.Errorf("weir status: %w: %s", err, errs)
	}
	var all []knative.ServiceStatus
	return all, json.Unmarshal([]byte(out), &all)
}

// PID is the process id of weir up.
func (w *Weir) PID() int { return w.cmd.Process.Pid }

// Replicas returns the process ids of the replicas, from weir's own records.
func (w *Weir) Replicas() ([]int, error) {
	files, err := filepath.Glob(filepath.Join(w.State, "records", "*.json"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if os.IsNotExist(err) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		var r struct{ PID int }
		if err := json.Unmarshal(data, &r); err != nil || r.PID == 0 {
			return nil, fmt.Errorf("record %s has no process: %w: %s", f, err, data)
		}
		pids = append(pids, r.PID)
	}
	return pids, nil
}
