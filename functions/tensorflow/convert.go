package tensorflow

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"unsafe"

	tf "github.com/galeone/tensorflow/tensorflow/go"
	"github.com/galeone/tensorflow/tensorflow/go/op"

	"weir.dev/weir/functions/model"
)

// converter makes tensors that the binding cannot make itself, each with a small graph. It is safe for concurrent use.
type converter struct {
	reuse  reuse
	mu     sync.Mutex
	graphs map[tf.DataType]*conversion
}

// conversion is a graph that makes a tensor of one type.
type conversion struct {
	session        *tf.Session
	in, shape, out tf.Output
}

// carriers are the types under which elements reach a graph that gives them their own type: the binding has no Go type
// for 16-bit floats and refuses 32- and 64-bit unsigned integers.
var carriers = map[model.DType]tf.DataType{
	model.Float16: tf.Uint16, model.BFloat16: tf.Uint16, model.Uint32: tf.Int32, model.Uint64: tf.Int64,
}

// toTF copies a tensor into TensorFlow's memory. It has been checked against a signature.
func (c *converter) toTF(t model.Tensor) (*tf.Tensor, error) {
	if t.DType == model.Bytes {
		return c.stringsToTF(t)
	}
	if out := c.reuse.take(tfTypes[t.DType], t.Shape); out != nil {
		copy(out.TensorData(), t.Data)
		return out, nil
	}
	carrier, carried := carriers[t.DType]
	if !carried {
		carrier = tfTypes[t.DType]
	}
	out, err := tf.ReadTensor(carrier, t.Shape, bytes.NewReader(t.Data))
	if err != nil {
		return nil, fmt.Errorf("tensor: %w", err)
	}
	if carried {
		defer free(out)
		return c.convert(out, tfTypes[t.DType], nil)
	}
	return out, nil
}

// stringsToTF copies a Bytes tensor. TensorFlow copies each string, so that ours need not be copied for the call.
func (c *converter) stringsToTF(t model.Tensor) (*tf.Tensor, error) {
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
		// Tensor.Reshape refuses strings.
		defer free(out)
		return c.convert(out, tf.String, t.Shape)
	}
	return out, nil
}

// convert gives a tensor another type of the same size; of strings, another shape.
func (c *converter) convert(t *tf.Tensor, to tf.DataType, shape []int64) (*tf.Tensor, error) {
	g, err := c.conversion(t.DataType(), to)
	if err != nil {
		return nil, fmt.Errorf("convert to %v: %w", to, err)
	}
	feeds := map[tf.Output]*tf.Tensor{g.in: t}
	if to == tf.String {
		if feeds[g.shape], err = tf.NewTensor(shape); err != nil {
			return nil, fmt.Errorf("tensor: %w", err)
		}
		defer free(feeds[g.shape])
	}
	out, err := g.session.Run(feeds, []tf.Output{g.out}, nil)
	if err != nil {
		return nil, fmt.Errorf("convert to %v: %w", to, err)
	}
	return out[0], nil
}

// conversion returns the graph for a type, made on its first use.
func (c *converter) conversion(from, to tf.DataType) (*conversion, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.graphs[to]; g != nil {
		return g, nil
	}
	s := op.NewScope()
	g := &conversion{in: op.Placeholder(s, from)}
	if to == tf.String {
		g.shape = op.Placeholder(s.SubScope("shape"), tf.Int64)
		g.out = op.Reshape(s, g.in, g.shape)
	} else {
		g.out = op.Bitcast(s, g.in, to)
	}
	graph, err := s.Finalize()
	if err != nil {
		return nil, err
	}
	if g.session, err = tf.NewSession(graph, nil); err != nil {
		return nil, err
	}
	if c.graphs == nil {
		c.graphs = map[tf.DataType]*conversion{}
	}
	c.graphs[to] = g
	return g, nil
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
	flat = make([]string, 0, n)
	err = guard(func() { flat = appendStrings(flat, reflect.ValueOf(t.Value())) })
	return flat, err
}

// appendStrings appends a string, or the strings in nested lists: as what a tensor is given depends on its rank.
func appendStrings(flat []string, v reflect.Value) []string {
	switch {
	case v.Kind() == reflect.String:
		return append(flat, v.String())
	case v.Type().Elem().Kind() == reflect.String:
		return append(flat, v.Interface().([]string)...)
	}
	for i := range v.Len() {
		flat = appendStrings(flat, v.Index(i))
	}
	return flat
}
