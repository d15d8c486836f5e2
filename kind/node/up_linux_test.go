package node

import (
	"os"
	"testing"
)

// TestWhoKeeps: process numbers begin again, so that the next keeper's may be shorter than the last one's.
func TestWhoKeeps(t *testing.T) {
	t.Parallel()
	f, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(f.path(), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{32766, 794} {
		lock, err := f.lock()
		if err != nil || lock == nil {
			t.Fatal(lock, err)
		}
		if err := sign(lock, pid); err != nil {
			t.Fatal(err)
		}
		if got := f.keeperPID(); got != pid {
			t.Errorf("the keeper is %d, want %d", got, pid)
		}
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
