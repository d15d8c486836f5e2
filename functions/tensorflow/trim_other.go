//go:build !linux

package tensorflow

import "runtime/debug"

// Trim gives memory back to the system that loading has used and nobody needs any more.
func Trim() { debug.FreeOSMemory() }
