package tensorflow

// #include "tensorflow/c/tf_tensor.h"
import "C"

import (
	"runtime"
	"unsafe"

	tf "github.com/galeone/tensorflow/tensorflow/go"
)

// free gives a tensor's memory back at once; the tensor must not be used again. The binding leaves that to a finalizer, which runs
// when Go's collector comes by. The collector does not see TensorFlow's memory, so hundreds of photos would wait for it. Memory
// that something else in TensorFlow has, too, stays for that.
func free(t *tf.Tensor) {
	runtime.SetFinalizer(t, nil)
	c := cTensor(t)
	C.TF_DeleteTensor(*c)
	*c = nil
}

func freeAll(tensors []*tf.Tensor) {
	for _, t := range tensors {
		free(t)
	}
}

// cTensor is where a tensor of the binding has TensorFlow's: the binding does not show it, it is what a Tensor begins with.
func cTensor(t *tf.Tensor) **C.TF_Tensor { return (**C.TF_Tensor)(unsafe.Pointer(t)) }
