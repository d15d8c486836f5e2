package model

import "fmt"

// DType is the element type of a Tensor. The names are those of the Open Inference Protocol.
type DType uint8

// The element types that weir can carry. Sizes are in Size.
const (
	Invalid DType = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	Float16
	BFloat16
	Float32
	Float64
	// Bytes is a string of any bytes per element: TensorFlow's DT_STRING.
	Bytes
)

var dtypes = [...]struct {
	v2, tf string
	size   int
}{
	Invalid:  {"INVALID", "DT_INVALID", 0},
	Bool:     {"BOOL", "DT_BOOL", 1},
	Uint8:    {"UINT8", "DT_UINT8", 1},
	Uint16:   {"UINT16", "DT_UINT16", 2},
	Uint32:   {"UINT32", "DT_UINT32", 4},
	Uint64:   {"UINT64", "DT_UINT64", 8},
	Int8:     {"INT8", "DT_INT8", 1},
	Int16:    {"INT16", "DT_INT16", 2},
	Int32:    {"INT32", "DT_INT32", 4},
	Int64:    {"INT64", "DT_INT64", 8},
	Float16:  {"FP16", "DT_HALF", 2},
	BFloat16: {"BF16", "DT_BFLOAT16", 2},
	Float32:  {"FP32", "DT_FLOAT", 4},
	Float64:  {"FP64", "DT_DOUBLE", 8},
	Bytes:    {"BYTES", "DT_STRING", 0},
}

// String returns the Open Inference Protocol's name: FP32, BYTES.
func (d DType) String() string { return d.entry().v2 }

// TensorFlow returns TensorFlow's name: DT_FLOAT, DT_STRING.
func (d DType) TensorFlow() string { return d.entry().tf }

// Size returns the bytes of one element, 0 for Bytes, whose elements differ in length.
func (d DType) Size() int { return d.entry().size }

func (d DType) entry() struct {
	v2, tf string
	size   int
} {
	if int(d) >= len(dtypes) {
		return dtypes[Invalid]
	}
	return dtypes[d]
}

// ParseDType reads the Open Inference Protocol's name of an element type.
func ParseDType(name string) (DType, error) {
	for d, e := range dtypes {
		if e.v2 == name && DType(d) != Invalid {
			return DType(d), nil
		}
	}
	return Invalid, fmt.Errorf("unknown datatype %q: expected BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64 or BYTES", name)
}
