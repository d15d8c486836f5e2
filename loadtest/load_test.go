package loadtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// rate runs f in a closed loop of callers for d and returns how often it returned a second.
func rate(b *testing.B, callers int, d time.Duration, f func() error) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(start).Seconds()
}

// post returns a function that posts a body and reads the answer; anything but 200 is an error.
func post(url, contentType string, body []byte) func() error {
	return send(url, http.Header{"Content-Type": {contentType}}, body)
}

// send is post with any header.
func send(url string, header http.Header, body []byte) func() error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	return func() error {
		req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header = header
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", resp.Status, answer)
		}
		return err
	}
}

// startFunction runs one replica as the engine does, without anything in front of it, and returns its address.
func startFunction(b *testing.B, name, model string, args ...string) string {
	b.Helper()
	url, _ := startProcess(b, name, model, args...)
	return url
}

// startProcess is startFunction that returns the process's id, too.
func startProcess(b *testing.B, name, model string, args ...string) (url string, pid int) {
	b.Helper()
	url, p := startCommand(b, append([]string{harness.Path("bin/functions", name), "--model", harness.Path("build/models", model)}, args...)...)
	awaitOK(b, url+"/readyz")
	return url, p.Pid
}

// startCommand starts a function, which need not be ready when this returns.
func startCommand(b *testing.B, command ...string) (url string, p *os.Process) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	ln.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("PORT=%d", port), "TF_CPP_MIN_LOG_LEVEL=2", "TF_ENABLE_ONEDNN_OPTS=1")
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	return fmt.Sprintf("http://127.0.0.1:%d", port), cmd.Process
}

func awaitOK(b *testing.B, url string) {
	b.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(time.Minute); ; {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-limit:
			b.Fatalf("%s is not 200 after a minute", url)
		}
	}
}

// startWeir runs weir up with one of the project's manifests.
func startWeir(b *testing.B, args ...string) *harness.Weir {
	b.Helper()
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		b.Fatal(err)
	}
	w, err := harness.Start(dir, args...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := w.Stop(); err != nil {
			b.Error(err)
		}
		os.RemoveAll(dir)
	})
	return w
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
