package report

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/loadtest/measure"
)

// TestRunsOfOneSecond have a folder each.
func TestRunsOfOneSecond(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "weir-load")
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	for _, want := range []string{"", "-2", "-3"} {
		dir, err := MakeDir(base, "a/b", now)
		if err != nil || dir != filepath.Join(base, "2026-11-24T10-00-00-a-b"+want) {
			t.Errorf("%s, %v; want it to end with %q", dir, err, want)
		}
	}
}

func TestCheckDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{file, filepath.Join(file, "below")} {
		if err := CheckDir(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	good := filepath.Join(dir, "a", "b")
	if err := errors.Join(CheckDir(good), CheckDir(dir), CheckDir("weir-load")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v; want nothing but the file", left, err)
	}
}

// TestComparePaths: the page's folder is made, and the picture does not overwrite the page.
func TestComparePaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := WriteCompare(filepath.Join(dir, "new", "c.html"), example(), example()); err != nil {
		t.Error(err)
	}
	if _, err := WriteCompare(filepath.Join(dir, "c.png"), example(), example()); err == nil || !strings.Contains(err.Error(), "the name of a page") {
		t.Errorf("a page named c.png: %v", err)
	}
}

// TestReplicasOfAComparison are those of the services that were loaded, or of all if that is not known.
func TestReplicasOfAComparison(t *testing.T) {
	t.Parallel()
	run := measure.Run{Revisions: []measure.Revision{{Name: "busy-1", Service: "busy"}, {Name: "busy-2", Service: "busy"}, {Name: "idle-1", Service: "idle"}}}
	row := measure.Row{Revisions: map[string]measure.RevisionRow{"busy-1": {Ready: 3}, "busy-2": {Ready: 1}, "idle-1": {Ready: 5}}}
	ready := func(r measure.Row) *float64 {
		return replicas(run, func(x measure.RevisionRow) int { return x.Ready })(r)
	}
	if got := ready(row); got == nil || *got != 9 {
		t.Errorf("without targets %v, want 9", got)
	}
	run.Targets = []string{"busy"}
	if got := ready(row); got == nil || *got != 4 {
		t.Errorf("of the service under load %v, want 4", got)
	}
	if got := ready(measure.Row{}); got != nil {
		t.Errorf("where the engine did not answer %v, want a gap", *got)
	}
}
