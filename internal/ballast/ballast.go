// Package ballast has Go's collector run less often in a process that has little alive.
//
// The collector runs when as much was allocated as was alive the last time, or 4 MB if that is more. A server of small requests has
// hardly more than that alive, and many thousand requests a second allocate it many times a second. Ballast counts as alive, but
// nobody touches it, so it takes no memory. What it adds to the process is garbage of its size at most: a larger GOGC would add
// a multiple of what is alive, which large bodies make large.
package ballast

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Size is how much garbage the collector lets come together at least.
const Size = 16 << 20

// Carry has the collector wait for Size bytes more until drop is called. If the user has set a limit (GOMEMLIMIT) it does nothing,
// as what is not touched counts there, too.
func Carry() (drop func()) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	b := make([]byte, Size)
	untouch(b)
	return func() { runtime.KeepAlive(b) }
}

// untouch gives the memory of a zeroed slice back until it is touched. The allocator has touched all of it if the first bytes were
// another's before: it clears the whole then. Where the system refuses, the memory stays, which harms nothing.
func untouch(zeroes []byte) {
	page := os.Getpagesize()
	start := -int(uintptr(unsafe.Pointer(unsafe.SliceData(zeroes)))) & (page - 1) // up to the first whole page
	_ = unix.Madvise(zeroes[start:start+(len(zeroes)-start)&^(page-1)], unix.MADV_DONTNEED)
}
