package tensorflow

// #include "tensorflow/c/tf_tensor.h"
import "C"

import (
	"strconv"
	"sync"

	tf "github.com/galeone/tensorflow/tensorflow/go"
)

// Tensors of less than reuseFrom bytes cost little to make. Those that wait for the next request take idleBytes at most.
const (
	reuseFrom = 64 << 10
	idleBytes = 32 << 20
)

// reuse keeps input tensors whose run is over for requests of the same type and shape. The C library gives large memory back to
// the system and takes it anew, a page fault every 4 KiB. The zero value works; it is safe for concurrent use.
type reuse struct {
	mu    sync.Mutex
	idle  map[string][]*tf.Tensor
	bytes int
}

// kind names a type and a shape.
func kind(dst []byte, dtype tf.DataType, shape []int64) []byte {
	dst = append(dst, byte(dtype))
	for _, n := range shape {
		dst = strconv.AppendInt(append(dst, ','), n, 10)
	}
	return dst
}

// take returns a tensor whose content is left from another run, nil if there is none.
func (r *reuse) take(dtype tf.DataType, shape []int64) *tf.Tensor {
	var space [64]byte
	k := kind(space[:0], dtype, shape)
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.idle[string(k)]
	if len(all) == 0 {
		return nil
	}
	t := all[len(all)-1]
	all[len(all)-1] = nil
	r.idle[string(k)] = all[:len(all)-1]
	r.bytes -= len(t.TensorData())
	return t
}

// release is for a tensor that was fed to a run that is over: it is kept, or its memory is given back.
func (r *reuse) release(t *tf.Tensor) {
	if !r.put(t) {
		free(t)
	}
}

// put keeps a tensor that was fed to a run that is over, and says whether it did.
func (r *reuse) put(t *tf.Tensor) bool {
	if t.DataType() == tf.String {
		return false
	}
	size := len(t.TensorData())
	if size < reuseFrom || size > idleBytes || !alone(t) {
		return false
	}
	var space [64]byte
	k := kind(space[:0], t.DataType(), t.Shape())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes += size; r.bytes > idleBytes || r.idle == nil {
		// Callers may send ever other shapes.
		for _, all := range r.idle {
			freeAll(all)
		}
		r.idle, r.bytes = map[string][]*tf.Tensor{}, size
	}
	r.idle[string(k)] = append(r.idle[string(k)], t)
	return true
}

// alone reports whether nothing else has a tensor's memory: a variable that was assigned it has, and an output that is the
// input.
func alone(t *tf.Tensor) bool {
	c := cTensor(t)
	moved := C.TF_TensorMaybeMove(*c)
	if moved == nil {
		return false
	}
	*c = moved
	return true
}
