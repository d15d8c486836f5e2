package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"weir.dev/weir/internal/soon"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	cmd := command(io.Discard)
	cmd.SetArgs([]string{"--help"})
	cmd.SetOut(&out)
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Examples:", "PORT=8080 router --services", "revisions:", "SIGTERM"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %q", want)
		}
	}
}

func TestWrongUsage(t *testing.T) {
	// Without a file it looks for a cluster: there is none here.
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, args := range [][]string{{}, {"x"}, {"--services"}, {"--services", filepath.Join(t.TempDir(), "none"), "--port", "0"}, {"--bogus"}} {
		cmd := command(io.Discard)
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

// TestDrain ends the program while a request runs: the request is answered, then the program returns.
func TestDrain(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	replica := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	defer replica.Close()
	file := filepath.Join(t.TempDir(), "services.yaml")
	text := "services:\n- name: half\n  revisions:\n  - {name: half-00001, url: '" + replica.URL + "', percent: 100, version: 1}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, ln, settings{services: file, timeout: time.Minute, drain: 20 * time.Second}, zerolog.Nop())
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	live, err := client.Get("http://" + ln.Addr().String() + "/home/live")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = live.Body.Close() }()
	answer := make(chan string, 1)
	go func() {
		res, err := client.Post("http://"+ln.Addr().String()+"/v1/models/half:predict", "application/json", strings.NewReader("{}"))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		answer <- string(body)
	}()
	select {
	case <-arrived:
	case got := <-answer:
		t.Fatalf("the first request did not reach the replica: %s", got)
	}
	stop()
	// The viewer's stream ends by itself: it must not hold up the drain.
	if _, err := io.Copy(io.Discard, live.Body); err != nil {
		t.Errorf("/home/live: %v", err)
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with a request running: %v", err)
	default:
	}
	close(finish)
	if got := soon.Next(t, "the answer", answer); got != "done" {
		t.Errorf("the running request got %q", got)
	}
	if err := soon.Next(t, "run's end", ended); err != nil {
		t.Errorf("run: %v", err)
	}
}
