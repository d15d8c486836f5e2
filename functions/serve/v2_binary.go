package serve

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"weir.dev/weir/functions/model"
)

// takeBinary gives the inputs without JSON data theirs out of the binary data, in the inputs' order.
func (r *inferRequest) takeBinary(tail []byte) error {
	whole := len(tail)
	for i := range r.inputs {
		in := &r.inputs[i]
		where := "inputs[" + itoa(i) + "]"
		size, given := in.params.size, in.has["parameters"] && in.params.size >= 0
		switch {
		case in.has["data"] && given:
			return badRequest("%s: expected either data or binary_data_size, got both", where)
		case in.has["data"]:
			continue
		case !given:
			return badRequest("%s: expected data, or the parameter binary_data_size with binary data", where)
		case size > int64(len(tail)):
			return badRequest("%s: binary_data_size is %d, but %d of the %d bytes after the JSON are left", where, size, len(tail), whole)
		}
		t, err := decodeBinary(in.dtype, in.shape, tail[:size:size])
		if err != nil {
			return badRequest("%s: %v", where, err)
		}
		in.tensor, tail = t, tail[size:]
	}
	if len(tail) > 0 {
		return badRequest("%d of the %d bytes after the JSON belong to no input", len(tail), whole)
	}
	return nil
}

// decodeBinary makes a tensor of the protocol's binary form: elements in little-endian order; of strings each after its
// length in four bytes. The tensor shares the memory of b.
func decodeBinary(d model.DType, shape []int64, b []byte) (model.Tensor, error) {
	t := model.Tensor{DType: d, Shape: shape}
	want, err := model.Elements(shape)
	if err != nil {
		return t, err
	}
	if d == model.Bytes {
		t.Strings, err = decodeStrings(want, b)
		return t, err
	}
	t.Data = b
	if want > math.MaxInt64/int64(d.Size()) || want*int64(d.Size()) != int64(len(b)) {
		return t, fmt.Errorf("shape %v of %v needs %d elements of %d bytes, got %d bytes", shape, d, want, d.Size(), len(b))
	}
	if d == model.Bool && bytes.ContainsFunc(b, func(r rune) bool { return r > 1 }) {
		return t, errors.New("a BOOL is neither 0 nor 1")
	}
	return t, nil
}

func decodeStrings(want int64, b []byte) ([][]byte, error) {
	// A string takes four bytes at least, so that no shape can reserve more than the body has.
	if want > int64(len(b))/4 {
		return nil, fmt.Errorf("%d strings need at least %d bytes, got %d", want, 4*want, len(b))
	}
	out := make([][]byte, 0, want)
	for i := range want {
		if len(b) < 4 {
			return nil, fmt.Errorf("string %d of %d has no length", i, want)
		}
		n := int64(binary.LittleEndian.Uint32(b))
		b = b[4:]
		if n > int64(len(b)) {
			return nil, fmt.Errorf("string %d of %d has length %d, but %d bytes are left", i, want, n, len(b))
		}
		out = append(out, b[:n:n])
		b = b[n:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%d bytes are left after %d strings", len(b), want)
	}
	return out, nil
}

// appendBinary is the reverse of decodeBinary.
func appendBinary(b []byte, t model.Tensor) []byte {
	for _, s := range t.Strings {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return append(b, t.Data...)
}
