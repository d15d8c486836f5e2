package ballast

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

// next is how large the heap is when the collector runs next.
func next() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC
}

// resident is the process's memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc:", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestCollectorWaitsAndMemoryStays(t *testing.T) {
	for name, prepare := range map[string]func(){
		"fresh memory": func() {},
		// A slice of this size is the first megabyte of the ballast later, and the allocator clears all sixteen.
		"used memory": func() { use(make([]byte, 1<<20)) },
	} {
		t.Run(name, func(t *testing.T) {
			prepare()
			collectorWaitsAndMemoryStays(t)
		})
	}
}

// use touches every page of b.
//
//go:noinline
func use(b []byte) {
	for i := 0; i < len(b); i += 4 << 10 {
		b[i] = 1
	}
}

func collectorWaitsAndMemoryStays(t *testing.T) {
	t.Helper()
	before, used := next(), resident(t)
	drop := Carry()
	if got := next(); got < before+Size {
		t.Errorf("the collector runs at %d MiB, before at %d: want %d more", got>>20, before>>20, Size>>20)
	}
	if more := resident(t) - used; more > Size/4 {
		t.Errorf("ballast of %d MiB takes %d MiB", Size>>20, more>>20)
	}
	drop()
	if got := next(); got > before+Size/2 {
		t.Errorf("the collector still runs at %d MiB after the ballast was dropped", got>>20)
	}
}

func TestNoBallastUnderALimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	before := next()
	defer Carry()()
	if got := next(); got > before+Size/2 {
		t.Errorf("the collector runs at %d MiB, before at %d, although there is a limit", got>>20, before>>20)
	}
}
