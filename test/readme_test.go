package test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is one command block of the README with what its output must hold.
type block struct{ prints, script string }

// TestReadme runs every command block of the README in order, as bash, against the weir that its first block starts.
func TestReadme(t *testing.T) {
	blocks := readmeBlocks(t)
	if len(blocks) < 10 || !strings.HasPrefix(blocks[0].script, "make run") {
		t.Fatalf("%d blocks, the first is %q: the README has changed its shape", len(blocks), blocks[0].script)
	}
	listen := freeAddress(t)
	w := makeRun(t, listen)
	for _, b := range blocks[1:] {
		script := strings.ReplaceAll(b.script, "127.0.0.1:8080", listen)
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "WEIR_STATE="+w.state)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v:\n%s\n%s", err, script, out)
		}
		if b.prints != "" && !strings.Contains(string(out), b.prints) {
			t.Errorf("output has no %q:\n%s\n%s", b.prints, script, out)
		}
	}
	<-w.ended // the last block is weir down
}

func readmeBlocks(t *testing.T) []block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, m := range regexp.MustCompile("(?s)(?:<!-- prints: ([^\n]*) -->\n)?```sh\n(.*?)```").FindAllStringSubmatch(string(data), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	if n := strings.Count(string(data), "```") / 2; n != len(blocks) {
		t.Errorf("README has %d blocks, %d of them commands: every block is run", n, len(blocks))
	}
	return blocks
}

// makeRun starts weir as the README's first block says.
func makeRun(t *testing.T, listen string) *weir {
	t.Helper()
	state := filepath.Join(shortDir(t), "state")
	cmd := exec.Command("make", "run", "LISTEN="+listen)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "WEIR_STATE="+state)
	w := &weir{cmd: cmd, state: state, ended: make(chan struct{})}
	if err := w.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
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

// freeAddress is a loopback address that nothing listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
