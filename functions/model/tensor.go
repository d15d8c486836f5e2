package model

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// Tensor is an n-dimensional array in row-major order. A Tensor is not changed after it was handed on.
type Tensor struct {
	DType DType
	// Shape has no entry for a scalar. No dimension is negative.
	Shape []int64
	// Data holds the elements in little-endian order, Len() x DType.Size() bytes; nil for Bytes.
	Data []byte
	// Strings holds the elements of a Bytes tensor, Len() of them; nil for the others.
	Strings [][]byte
}

// Len returns the number of elements.
func (t Tensor) Len() int64 {
	n, err := Elements(t.Shape)
	if err != nil {
		return 0
	}
	return n
}

// Elements multiplies a shape out. It refuses negative dimensions and products over 2^62.
func Elements(shape []int64) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > math.MaxInt64/2 {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		n = int64(lo)
	}
	return n, nil
}

// Check reports whether Data or Strings hold what DType and Shape promise.
func (t Tensor) Check() error {
	n, err := Elements(t.Shape)
	if err != nil {
		return err
	}
	switch {
	case t.DType == Invalid || int(t.DType) >= len(dtypes):
		return fmt.Errorf("datatype %v is not known", t.DType)
	case t.DType == Bytes && int64(len(t.Strings)) != n:
		return fmt.Errorf("shape %v needs %d elements, got %d", t.Shape, n, len(t.Strings))
	case t.DType != Bytes && n > math.MaxInt64/int64(max(t.DType.Size(), 1)):
		return fmt.Errorf("shape %v is too large", t.Shape)
	case t.DType != Bytes && int64(len(t.Data)) != n*int64(t.DType.Size()):
		return fmt.Errorf("shape %v of %v needs %d bytes, got %d", t.Shape, t.DType, n*int64(t.DType.Size()), len(t.Data))
	}
	return nil
}

// Equal reports whether two tensors have the same type, shape and bytes.
func (t Tensor) Equal(o Tensor) bool {
	return t.DType == o.DType && slices.Equal(t.Shape, o.Shape) && slices.Equal(t.Data, o.Data) &&
		slices.EqualFunc(t.Strings, o.Strings, slices.Equal[[]byte])
}
