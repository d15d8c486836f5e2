package tensorflow

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	tf "github.com/galeone/tensorflow/tensorflow/go"
	"github.com/galeone/tensorflow/tensorflow/go/op"

	"weir.dev/weir/functions/model"
)

// toTF copies a tensor into TensorFlow's memory. It has been checked against a signature.
func toTF(t model.Tensor) (*tf.Tensor, error) {
	switch t.DType {
	case model.Bytes:
		return stringsToTF(t)
	case model.Float16, model.BFloat16:
		raw, err := tf.ReadTensor(tf.Uint16, t.Shape, bytes.NewReader(t.Data))
		if err != nil {
			return nil, fmt.Errorf("tensor: %w", err)
		}
		return bitcast(raw, tfTypes[t.DType])
	}
	if len(t.Data) == 0 {
		return emptyTF(t)
	}
	out, err := tf.ReadTensor(tfTypes[t.DType], t.Shape, bytes.NewReader(t.Data))
	if err != nil {
		return nil, fmt.Errorf("tensor: %w", err)
	}
	return out, nil
}

// emptyTF makes a tensor without elements: TensorFlow gives it no memory to read into.
func emptyTF(t model.Tensor) (*tf.Tensor, error) {
	out, err := tf.ReadTensor(tfTypes[t.DType], t.Shape, bytes.NewReader(nil))
	if err != nil {
		return nil, fmt.Errorf("tensor: %w", err)
	}
	return out, nil
}

// stringsToTF copies a Bytes tensor. TensorFlow copies each string, so that ours need not be copied for the call.
func stringsToTF(t model.Tensor) (*tf.Tensor, error) {
	flat := make([]string, len(t.Strings))
	for i, s := range t.Strings {
		flat[i] = unsafe.String(unsafe.SliceData(s), len(s))
	}
	if len(t.Shape) == 0 {
		return tf.NewTensor(flat[0])
	}
	out, err := tf.NewTensor(flat)
	runtime.KeepAlive(t)
	if err != nil {
		return nil, fmt.Errorf("tensor: %w", err)
	}
	if len(t.Shape) > 1 {
		if err := out.Reshape(t.Shape); err != nil {
			return nil, fmt.Errorf("tensor: %w", err)
		}
	}
	return out, nil
}

// fromTF copies a tensor out of TensorFlow's memory.
func fromTF(t *tf.Tensor) (model.Tensor, error) {
	defer runtime.KeepAlive(t)
	dtype, ok := dtypes[t.DataType()]
	if !ok {
		return model.Tensor{}, fmt.Errorf("the model answered with the type %v, which cannot be served", t.DataType())
	}
	out := model.Tensor{DType: dtype, Shape: t.Shape()}
	if dtype != model.Bytes {
		out.Data = bytes.Clone(t.TensorData())
		return out, nil
	}
	flat, err := flatStrings(t)
	if err != nil {
		return model.Tensor{}, err
	}
	out.Strings = make([][]byte, len(flat))
	for i, s := range flat {
		out.Strings[i] = unsafe.Slice(unsafe.StringData(s), len(s))
	}
	return out, nil
}

// flatStrings returns a string tensor's elements in row-major order.
func flatStrings(t *tf.Tensor) (flat []string, err error) {
	n, err := model.Elements(t.Shape())
	if err != nil || n == 0 {
		return nil, err
	}
	if len(t.Shape()) > 1 {
		if err := t.Reshape([]int64{n}); err != nil {
			return nil, err
		}
	}
	err = guard(func() {
		switch v := t.Value().(type) {
		case string:
			flat = []string{v}
		case []string:
			flat = v
		}
	})
	return flat, err
}

// bitcasts are the graphs that turn 16-bit integers into the 16-bit floats that Go and the binding have no type for.
var bitcasts struct {
	sync.Mutex
	by map[tf.DataType]*bitcaster
}

type bitcaster struct {
	session *tf.Session
	in, out tf.Output
}

// bitcast gives a tensor another type of the same size.
func bitcast(t *tf.Tensor, to tf.DataType) (*tf.Tensor, error) {
	b, err := bitcasterTo(to)
	if err != nil {
		return nil, fmt.Errorf("bitcast: %w", err)
	}
	out, err := b.session.Run(map[tf.Output]*tf.Tensor{b.in: t}, []tf.Output{b.out}, nil)
	if err != nil {
		return nil, fmt.Errorf("bitcast: %w", err)
	}
	return out[0], nil
}

func bitcasterTo(to tf.DataType) (*bitcaster, error) {
	bitcasts.Lock()
	defer bitcasts.Unlock()
	if b := bitcasts.by[to]; b != nil {
		return b, nil
	}
	s := op.NewScope()
	b := &bitcaster{in: op.Placeholder(s, tf.Uint16)}
	b.out = op.Bitcast(s, b.in, to)
	graph, err := s.Finalize()
	if err != nil {
		return nil, err
	}
	if b.session, err = tf.NewSession(graph, nil); err != nil {
		return nil, err
	}
	if bitcasts.by == nil {
		bitcasts.by = map[tf.DataType]*bitcaster{}
	}
	bitcasts.by[to] = b
	return b, nil
}
