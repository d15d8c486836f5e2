package test

import (
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"weir.dev/weir/internal/harness"
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
	w := own(t, func(dir string) (*harness.Weir, error) { return harness.Make(dir, listen) })
	addresses := strings.NewReplacer("127.0.0.1:8080", listen, "127.0.0.1:8090", freeAddress(t), "127.0.0.1:8091", freeAddress(t))
	for _, b := range blocks[1:] {
		script := addresses.Replace(b.script)
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = harness.Root
		cmd.Env = append(os.Environ(), "WEIR_STATE="+w.State)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v:\n%s\n%s", err, script, out)
		}
		if b.prints != "" && !strings.Contains(string(out), b.prints) {
			t.Errorf("output has no %q:\n%s\n%s", b.prints, script, out)
		}
	}
	<-w.Ended() // the last block is weir down
}

func readmeBlocks(t *testing.T) []block {
	t.Helper()
	data, err := os.ReadFile(harness.Path("README.md"))
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
