package tensorflow

import (
	"runtime"
	"sync"

	"weir.dev/weir/functions/model"
)

// collectEvery is after how many bytes of tensors Go's collector is run: their memory is TensorFlow's, freed by
// finalizers, and a collector that does not see it would let the process grow to twice its size.
const collectEvery = 64 << 20

// released counts tensors of all models of the process, as they share its memory.
var released nativeMemory

type nativeMemory struct {
	mu    sync.Mutex
	bytes int64
}

// add counts tensors that nothing needs any more, and has them freed when they are many.
func (n *nativeMemory) add(bytes int64) {
	n.mu.Lock()
	n.bytes += bytes
	due := n.bytes >= collectEvery
	if due {
		n.bytes = 0
	}
	n.mu.Unlock()
	if due {
		runtime.GC()
	}
}

// nativeBytes is about what a tensor takes in TensorFlow's memory.
func nativeBytes(t model.Tensor) int64 {
	n := int64(len(t.Data))
	for _, s := range t.Strings {
		n += int64(len(s)) + 24 // a TF_TString
	}
	return n
}
