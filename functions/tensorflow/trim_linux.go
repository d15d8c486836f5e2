package tensorflow

// #include <malloc.h>
import "C"

import "runtime/debug"

// Trim gives memory back to the system that loading has used and nobody needs any more: Go's and the C library's
// allocators keep it otherwise, in every replica.
func Trim() {
	debug.FreeOSMemory()
	C.malloc_trim(0)
}
