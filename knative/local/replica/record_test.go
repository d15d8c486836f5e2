package replica

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func portNumber(t *testing.T, r *Replica) int {
	t.Helper()
	_, port, err := net.SplitHostPort(r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReap kills an engine and ends the replica that it leaves behind.
func TestReap(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"serve", "forks"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			out := newLog()
			s := spec(t, "engine")
			s.Env = append(s.Env, "RECORDS="+dir, "KIND="+kind)
			s.Output = out
			// The engine is a replica here so that it ends with the test; what it starts is in a group of its own.
			s.Readiness = nil
			engine, err := Start(s)
			if err != nil {
				t.Fatal(err)
			}
			pid := out.findInt(t, "pid ")
			engine.Kill()
			within(t, "exit", engine.Exited())
			if !running(pid) {
				t.Fatal("the replica ended with its engine: nothing to test")
			}
			ended, err := Reap(dir, zerolog.Nop())
			if err != nil || ended != 1 {
				t.Errorf("ended %d, error %v; want 1", ended, err)
			}
			if running(pid) {
				t.Error("the replica runs on")
			}
			if kind == "forks" {
				child := out.findInt(t, "child ")
				for end := time.Now().Add(20 * time.Second); running(child) && time.Now().Before(end); {
					runtime.Gosched() // a killed process takes a moment to end
				}
				if running(child) {
					t.Error("the replica's child runs on")
				}
			}
			if got := records(t, dir); len(got) != 0 {
				t.Errorf("records in the end: %v", got)
			}
		})
	}
}

// TestReapSparesOthers has a record whose process id belongs to another process by now.
func TestReapSparesOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := spec(t, "serve")
	s.Records = dir
	r := run(t, s)
	within(t, "readiness", r.Ready())
	path := r.recordPath()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rec record
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatal(err)
	}
	if rec.Name != s.Name || rec.PID != r.PID() {
		t.Errorf("record %+v", rec)
	}
	rec.Created -= 10_000
	b, err = json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		path: string(b), filepath.Join(dir, "broken"+recordSuffix): "{", filepath.Join(dir, tmpPrefix+"x"): "{}",
		filepath.Join(dir, "init"+recordSuffix): `{"name":"init","pid":1,"created":1}`,
		filepath.Join(dir, "other.txt"):         "not ours",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ended, err := Reap(dir, zerolog.Nop())
	if ended != 0 || err == nil || !strings.Contains(err.Error(), "broken"+recordSuffix) ||
		!strings.Contains(err.Error(), "init"+recordSuffix) {
		t.Errorf("ended %d, error %v", ended, err)
	}
	if !running(r.PID()) {
		t.Error("another process was ended")
	}
	if got := records(t, dir); len(got) != 1 || filepath.Base(got[0]) != "other.txt" {
		t.Errorf("left %v", got)
	}
	if ended, err := Reap(filepath.Join(dir, "none"), zerolog.Nop()); ended != 0 || err != nil {
		t.Errorf("no folder: ended %d, error %v", ended, err)
	}
}
