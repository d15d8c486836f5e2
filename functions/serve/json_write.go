package serve

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"

	"weir.dev/weir/functions/model"
)

// tensorWriter writes tensors as JSON.
type tensorWriter struct {
	b []byte
	// finite refuses NaN and the infinities, which strict JSON cannot carry.
	finite bool
	// halves refuses FP16 and BF16, which the Open Inference Protocol does not carry in JSON.
	noHalves bool
	// text refuses strings that are not UTF-8; without it they are mended with U+FFFD.
	text bool
}

// nested writes the elements from first on as lists of the given shape; b64 writes strings as {"b64": "…"}.
func (w *tensorWriter) nested(name string, t model.Tensor, shape []int64, first int64, b64 bool) (int64, error) {
	if len(shape) == 0 {
		return first + 1, w.element(name, t, first, b64)
	}
	w.b = append(w.b, '[')
	for i := range shape[0] {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		var err error
		if len(shape) == 1 {
			err = w.element(name, t, first, b64)
			first++
		} else {
			first, err = w.nested(name, t, shape[1:], first, b64)
		}
		if err != nil {
			return first, err
		}
	}
	w.b = append(w.b, ']')
	return first, nil
}

// element writes element i.
func (w *tensorWriter) element(name string, t model.Tensor, i int64, b64 bool) error {
	size := int64(t.DType.Size())
	if t.DType == model.Bytes {
		return w.str(name, t.Strings[i], b64)
	}
	d := t.Data[i*size : (i+1)*size]
	switch t.DType {
	case model.Bool:
		w.b = strconv.AppendBool(w.b, d[0] != 0)
	case model.Uint8:
		w.b = strconv.AppendUint(w.b, uint64(d[0]), 10)
	case model.Uint16:
		w.b = strconv.AppendUint(w.b, uint64(binary.LittleEndian.Uint16(d)), 10)
	case model.Uint32:
		w.b = strconv.AppendUint(w.b, uint64(binary.LittleEndian.Uint32(d)), 10)
	case model.Uint64:
		w.b = strconv.AppendUint(w.b, binary.LittleEndian.Uint64(d), 10)
	case model.Int8:
		w.b = strconv.AppendInt(w.b, int64(int8(d[0])), 10)
	case model.Int16:
		w.b = strconv.AppendInt(w.b, int64(int16(binary.LittleEndian.Uint16(d))), 10)
	case model.Int32:
		w.b = strconv.AppendInt(w.b, int64(int32(binary.LittleEndian.Uint32(d))), 10)
	case model.Int64:
		w.b = strconv.AppendInt(w.b, int64(binary.LittleEndian.Uint64(d)), 10)
	default:
		return w.float(name, t.DType, d)
	}
	return nil
}

func (w *tensorWriter) float(name string, d model.DType, b []byte) error {
	f, bits := realOf(d, b), 32
	if d == model.Float64 {
		bits = 64
	}
	if w.noHalves && (d == model.Float16 || d == model.BFloat16) {
		return badRequest("output %q is %v, which this protocol's JSON does not carry: ask for binary_data", name, d)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		if w.finite {
			return badRequest("output %q holds %v, which an event's JSON does not carry: send the event in binary mode, or ask without one", name, f)
		}
		w.b = appendNonFinite(w.b, f)
		return nil
	}
	w.b = appendFloat(w.b, f, bits)
	return nil
}

// appendFloat writes the shortest decimal that reads back as f, with a point or an exponent, so that a client's JSON
// library makes a floating-point number of it. TensorFlow Serving does so too.
func appendFloat(b []byte, f float64, bits int) []byte {
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, bits)
	for _, c := range b[start:] {
		if c == '.' || c == 'e' {
			return b
		}
	}
	return append(b, ".0"...)
}

func appendNonFinite(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case f < 0:
		return append(b, "-Infinity"...)
	}
	return append(b, "Infinity"...)
}

func (w *tensorWriter) str(name string, v []byte, b64 bool) error {
	if b64 {
		w.b = append(w.b, `{"b64":"`...)
		w.b = base64.StdEncoding.AppendEncode(w.b, v)
		w.b = append(w.b, `"}`...)
		return nil
	}
	if w.text && !utf8.Valid(v) {
		return badRequest("output %q holds bytes that are not UTF-8, which JSON does not carry: ask for binary_data", name)
	}
	w.b = appendString(w.b, v)
	return nil
}

// appendString writes a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString[T string | []byte](b []byte, v T) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(v); {
		c := v[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(string(v[i:min(len(v), i+utf8.UTFMax)]))
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}
