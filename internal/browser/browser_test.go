package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	program := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("CHROMIUM", "")
	t.Setenv("PATH", dir)
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "apt-get install chromium") {
		t.Errorf("without a browser: %v, expected the line that installs one", err)
	}
	chrome := program("google-chrome")
	if got, err := Find(); err != nil || got != chrome {
		t.Errorf("found %q (%v), expected %q", got, err, chrome)
	}
	chromium := program("chromium")
	if got, err := Find(); err != nil || got != chromium {
		t.Errorf("found %q (%v), expected %q", got, err, chromium)
	}
	own := program("own")
	t.Setenv("CHROMIUM", own)
	if got, err := Find(); err != nil || got != own {
		t.Errorf("found %q (%v), expected %q", got, err, own)
	}
}
