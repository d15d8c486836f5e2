package loadtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// kserveRouterPort is the port of KServe's router: a constant of its program.
const kserveRouterPort = "8080"

// BenchmarkKServeRouter compares the router's program with KServe's (`make kserve-router`), both before the same
// replica that answers at once, 32 callers, by turns.
func BenchmarkKServeRouter(b *testing.B) {
	kserve := filepath.Join("..", "build", "peers", "kserve-router", "router")
	if _, err := os.Stat(kserve); err != nil {
		b.Skip("KServe's router is not there: make kserve-router builds it")
	}
	answer := bytes.Repeat([]byte("x"), 1<<10)
	replica := listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	const path = "/v1/models/digits:predict"
	theirs := startHop(b, exec.Command(kserve, "--graph-json", fmt.Sprintf(
		`{"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceUrl": "http://%s%s"}]}}}`, replica, path)), kserveRouterPort)
	services := filepath.Join(b.TempDir(), "services.yaml")
	if err := os.WriteFile(services, fmt.Appendf(nil,
		"services:\n- name: digits\n  revisions:\n  - {name: digits-00001, url: \"http://%s\", percent: 100}\n", replica), 0o600); err != nil {
		b.Fatal(err)
	}
	port := freePort(b)
	ours := startHop(b, exec.Command(filepath.Join("..", "bin", "router"), "--services", services, "--port", port), port)
	for _, size := range []int{1 << 10, 600 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			body := bytes.Repeat([]byte("y"), size)
			json := http.Header{"Content-Type": {"application/json"}}
			sides := []func() error{lines(b, "http://"+theirs+path, json, body), lines(b, "http://"+ours+path, json, body)}
			var rates [2][]float64
			for b.Loop() {
				for range 3 {
					for i, f := range sides {
						rates[i] = append(rates[i], rate(b, 32, time.Second, f))
					}
				}
			}
			b.ReportMetric(median(rates[0]), "kserve-requests/s")
			b.ReportMetric(median(rates[1]), "requests/s")
			b.ReportMetric(median(rates[1])/median(rates[0]), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// startHop starts a program that listens on a port of this machine, for the time of a benchmark, and returns its address.
func startHop(b *testing.B, cmd *exec.Cmd, port string) string {
	b.Helper()
	addr := net.JoinHostPort("127.0.0.1", port)
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		b.Fatalf("%s is in use, and %s needs it", addr, cmd.Path)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- cmd.Wait()
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL) // KServe's router sleeps for 30 s on SIGTERM.
		for range ended {
		}
	})
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return addr
		}
		select {
		case err := <-ended:
			b.Fatalf("%s does not serve: %v", cmd.Path, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// freePort is a port that nothing listens on.
func freePort(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return port
}
