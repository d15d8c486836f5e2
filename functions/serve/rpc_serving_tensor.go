package serve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	tensorpb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_go_proto"
	shapepb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_shape_go_proto"
	typespb "github.com/galeone/tensorflow/tensorflow/go/core/framework/types_go_proto"

	"weir.dev/weir/functions/model"
)

// maxSpread bounds how many elements a TensorProto may mean by its last value alone: without it a few bytes would take
// any amount of memory.
const maxSpread = 1 << 20

// protoTypes are the element types as messages have them, dtypes the same the other way: by name both would be looked up by
// reflection for each tensor.
var protoTypes, dtypes = func() (to map[model.DType]typespb.DataType, from map[typespb.DataType]model.DType) {
	to, from = map[model.DType]typespb.DataType{}, map[typespb.DataType]model.DType{}
	for d := model.Bool; d <= model.Bytes; d++ {
		to[d] = typespb.DataType(typespb.DataType_value[d.TensorFlow()])
		from[to[d]] = d
	}
	return to, from
}()

// knownTypes are TensorFlow's names of the element types.
func knownTypes() string {
	var names []string
	for d := range protoTypes {
		names = append(names, d.TensorFlow())
	}
	slices.Sort(names)
	return orNone(names)
}

// fromTensorProto reads a tensor as TensorFlow does: tensor_content, or values of which the last one fills the rest.
func fromTensorProto(p *tensorpb.TensorProto) (model.Tensor, error) {
	d, ok := dtypes[p.GetDtype()]
	if !ok {
		return model.Tensor{}, fmt.Errorf("dtype %v is not supported: expected %s", p.GetDtype(), knownTypes())
	}
	t := model.Tensor{DType: d, Shape: make([]int64, len(p.GetTensorShape().GetDim()))}
	if p.GetTensorShape().GetUnknownRank() {
		return t, errors.New("tensor_shape has no rank")
	}
	for i, dim := range p.GetTensorShape().GetDim() {
		t.Shape[i] = dim.GetSize()
	}
	want, err := model.Elements(t.Shape)
	if err != nil {
		return t, err
	}
	if d == model.Bytes {
		return stringsOf(t, p, want)
	}
	if content := p.GetTensorContent(); len(content) > 0 {
		return decodeBinary(d, t.Shape, content)
	}
	return spread(t, values(d, p), want)
}

// values are the elements that a TensorProto has in the field of its type.
func values(d model.DType, p *tensorpb.TensorProto) []byte {
	switch d {
	case model.Float32:
		return appendFloats(p.GetFloatVal())
	case model.Float64:
		return appendDoubles(p.GetDoubleVal())
	case model.Int64:
		return appendWords(p.GetInt64Val())
	case model.Uint64:
		return appendWords(p.GetUint64Val())
	case model.Uint32:
		return appendCut(4, p.GetUint32Val())
	case model.Float16, model.BFloat16:
		return appendCut(2, p.GetHalfVal())
	case model.Bool:
		out := make([]byte, len(p.GetBoolVal()))
		for i, v := range p.GetBoolVal() {
			if v {
				out[i] = 1
			}
		}
		return out
	}
	return appendCut(d.Size(), p.GetIntVal())
}

// appendCut writes the low bytes of each value, as TensorFlow does.
func appendCut[T int32 | uint32](size int, values []T) []byte {
	out := make([]byte, 0, size*len(values))
	for _, v := range values {
		switch size {
		case 1:
			out = append(out, byte(v))
		case 2:
			out = binary.LittleEndian.AppendUint16(out, uint16(v))
		default:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		}
	}
	return out
}

// spread makes want elements of those there are: the last one is repeated; none at all are zeros.
func spread(t model.Tensor, data []byte, want int64) (model.Tensor, error) {
	size := int64(t.DType.Size())
	got := int64(len(data)) / size
	if err := checkSpread(t, got, want); err != nil {
		return t, err
	}
	if got < want {
		last := make([]byte, size)
		if got > 0 {
			last = data[(got-1)*size:]
		}
		for range want - got {
			data = append(data, last[:size]...)
		}
	}
	t.Data = data
	return t, nil
}

func checkSpread(t model.Tensor, got, want int64) error {
	switch {
	case got > want:
		return fmt.Errorf("shape %v needs %d elements, got %d", t.Shape, want, got)
	case want-got > maxSpread:
		return fmt.Errorf("shape %v needs %d elements, got only %d: at most %d are filled in", t.Shape, want, got, maxSpread)
	}
	return nil
}

func stringsOf(t model.Tensor, p *tensorpb.TensorProto, want int64) (model.Tensor, error) {
	if len(p.GetTensorContent()) > 0 {
		return t, errors.New("strings in tensor_content are not supported: send string_val")
	}
	t.Strings = p.GetStringVal()
	got := int64(len(t.Strings))
	if err := checkSpread(t, got, want); err != nil {
		return t, err
	}
	last := []byte{}
	if got > 0 {
		last = t.Strings[got-1]
	}
	for range want - got {
		t.Strings = append(t.Strings, last)
	}
	return t, nil
}

// toTensorProto writes a tensor with its elements in the field of its type, as TensorFlow Serving answers: there are
// clients that read outputs["scores"].float_val.
func toTensorProto(t model.Tensor) *tensorpb.TensorProto {
	dims := make([]shapepb.TensorShapeProto_Dim, len(t.Shape))
	shape := &shapepb.TensorShapeProto{Dim: make([]*shapepb.TensorShapeProto_Dim, len(t.Shape))}
	for i, n := range t.Shape {
		dims[i].Size = n
		shape.Dim[i] = &dims[i]
	}
	p := &tensorpb.TensorProto{Dtype: protoTypes[t.DType], TensorShape: shape}
	switch t.DType {
	case model.Float32:
		p.FloatVal = float32sOf(t)
	case model.Float64:
		p.DoubleVal = float64sOf(t)
	case model.Int64:
		p.Int64Val = integersOf[int64](t)
	case model.Uint64:
		p.Uint64Val = integersOf[uint64](t)
	case model.Uint32:
		p.Uint32Val = integersOf[uint32](t)
	case model.Bytes:
		p.StringVal = t.Strings
	case model.Bool:
		for _, b := range t.Data {
			p.BoolVal = append(p.BoolVal, b != 0)
		}
	case model.Float16, model.BFloat16:
		for b := t.Data; len(b) >= 2; b = b[2:] {
			p.HalfVal = append(p.HalfVal, int32(binary.LittleEndian.Uint16(b)))
		}
	default:
		p.IntVal = integersOf[int32](t)
	}
	return p
}

// realAt is element i of a tensor of floating-point numbers.
func realAt(t model.Tensor, i int64) float64 {
	return realOf(t.DType, t.Data[i*int64(t.DType.Size()):])
}

// realOf is the floating-point number at the start of an element's bytes.
func realOf(d model.DType, b []byte) float64 {
	switch d {
	case model.Float32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case model.Float64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case model.Float16:
		return float64(fromHalf(binary.LittleEndian.Uint16(b)))
	default:
		return float64(fromBrain(binary.LittleEndian.Uint16(b)))
	}
}
