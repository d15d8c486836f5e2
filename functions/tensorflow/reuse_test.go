package tensorflow

import (
	"bytes"
	"runtime"
	"testing"

	tf "github.com/galeone/tensorflow/tensorflow/go"
)

func tensorOf(t *testing.T, n int64) *tf.Tensor {
	t.Helper()
	out, err := tf.ReadTensor(tf.Int32, []int64{n}, bytes.NewReader(make([]byte, 4*n)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTensorsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var r reuse
	large := tensorOf(t, reuseFrom)
	if !r.put(large) || r.put(tensorOf(t, 1)) {
		t.Fatal("expected that a large tensor is kept and a small one is not")
	}
	if r.take(tf.Float, []int64{reuseFrom}) != nil || r.take(tf.Int32, []int64{1, reuseFrom}) != nil {
		t.Error("a tensor of another type or shape was given")
	}
	if r.take(tf.Int32, []int64{reuseFrom}) != large || r.take(tf.Int32, []int64{reuseFrom}) != nil || r.bytes != 0 {
		t.Errorf("expected the tensor that was kept, once; %d bytes are left", r.bytes)
	}
	for n := range int64(20) {
		r.put(tensorOf(t, idleBytes/4/10+n))
	}
	if r.bytes > idleBytes {
		t.Errorf("%d bytes are kept, over the bound of %d", r.bytes, idleBytes)
	}
}

// TestATensorWhoseMemoryIsSharedIsNotUsedAgain feeds one to a graph whose output is the same memory.
func TestATensorWhoseMemoryIsSharedIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	var c converter
	in := tensorOf(t, reuseFrom)
	out, err := c.convert(in, tf.Uint32, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.reuse.put(in) || c.reuse.put(out) {
		t.Error("it was kept")
	}
	runtime.KeepAlive(in)
	runtime.KeepAlive(out)
}
