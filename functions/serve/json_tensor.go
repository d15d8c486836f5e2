package serve

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"weir.dev/weir/functions/model"
)

// tensorReader puts JSON values into a tensor as they are read. Nested lists must be even: every list at one level has
// as many elements as the first one.
type tensorReader struct {
	*scanner
	dtype model.DType
	// root is what errors call the value; named is the key inside of a row's object, if there is one.
	root, named string
	// dims are the lengths per level, -1 until the first list of that level ended.
	dims []int64
	// at is the index of the value that is read, per level.
	at []int
	// leaf says that a value was met, which fixes the rank.
	leaf bool
	// maxRows bounds the elements of the outermost list; 0 does not.
	maxRows int

	data    []byte
	strings [][]byte
}

// newTensorReader prepares for the values of spec; the body's length bounds what is reserved.
func newTensorReader(s *scanner, spec model.TensorSpec, root string) *tensorReader {
	t := &tensorReader{scanner: s, dtype: spec.DType, root: root}
	want := int64(1)
	for _, d := range spec.Shape {
		if d > 0 && want < 1<<32 {
			want *= min(d, 1<<31)
		}
	}
	// A value needs at least a digit and a comma.
	want = min(want, int64(len(s.b)-s.i)/2+1)
	t.data = s.memory.take(int(want) * spec.DType.Size())
	return t
}

// row reads the value as the next element along a new first dimension.
func (t *tensorReader) row(n int) error {
	if len(t.dims) == 0 {
		t.dims, t.at = append(t.dims, -1), append(t.at, 0)
	}
	t.at[0] = n
	return t.value(1)
}

// rows ends a tensor that was read by n calls of row.
func (t *tensorReader) rows(n int) model.Tensor {
	t.dims[0] = int64(n)
	return t.tensor()
}

func (t *tensorReader) tensor() model.Tensor {
	out := model.Tensor{DType: t.dtype, Shape: append([]int64{}, t.dims...)}
	if t.dtype == model.Bytes {
		out.Strings = t.strings
	} else {
		out.Data = t.data
	}
	return out
}

// value reads a list or one element at a level, 0 being the outermost.
func (t *tensorReader) value(level int) error {
	if t.peek() != '[' {
		if level != len(t.dims) {
			return t.wrong(level, "expected a list, got %s", t.what())
		}
		t.leaf = true
		return t.element(level)
	}
	if t.leaf && level >= len(t.dims) {
		return t.wrong(level, "expected %v, got a list", t.dtype)
	}
	if level == len(t.dims) {
		t.dims, t.at = append(t.dims, -1), append(t.at, 0)
	}
	if err := t.open('['); err != nil {
		return err
	}
	n, err := t.elements(level)
	if err != nil {
		return err
	}
	switch {
	case t.dims[level] == -1:
		t.dims[level] = int64(n)
	case t.dims[level] != int64(n):
		return t.wrong(level, "the list has %d elements, expected %d as in the lists before", n, t.dims[level])
	}
	return nil
}

// elements reads the inside of a list and its end.
func (t *tensorReader) elements(level int) (int, error) {
	for n := 0; ; n++ {
		// The usual case first: a comma, at most one space, as Python writes it, and the next number.
		if n == 0 || t.i >= len(t.b) || t.b[t.i] != ',' || t.i+1 >= len(t.b) || t.b[t.i+1] == ']' {
			more, err := t.more(n, ']')
			if err != nil || !more {
				return n, err
			}
		} else if t.i++; t.b[t.i] == ' ' {
			t.i++
		}
		if t.maxRows > 0 && level == 0 && n >= t.maxRows {
			return n, tooMany(t.maxRows)
		}
		t.at[level] = n
		if t.dtype == model.Float32 && t.leaf && t.plain(level) {
			continue
		}
		if err := t.value(level + 1); err != nil {
			return n, err
		}
	}
}

// plain reads the next value of a list of float32s or of lists of them, if it is of the usual form.
func (t *tensorReader) plain(level int) bool {
	switch len(t.dims) - level {
	case 1:
		f, end, ok := plain32(t.b, t.i)
		if ok {
			t.data = binary.LittleEndian.AppendUint32(t.data, f)
			t.i = end
		}
		return ok
	case 2:
		// The first list was read, by value: its length is known, and that it is not nested too deep.
		n := t.dims[level+1]
		return n > 0 && t.i < len(t.b) && t.b[t.i] == '[' && t.list32(int(n))
	}
	return false
}

func tooMany(limit int) error {
	return model.Errorf(model.TooLarge, "more than the limit of %d instances in one request", limit)
}

// wrong is an error at the value that is read: inputs[0][3]: expected …
func (t *tensorReader) wrong(level int, format string, args ...any) error {
	path := t.root
	for i, n := range t.at[:min(level, len(t.at))] {
		path += "[" + strconv.Itoa(n) + "]"
		if i == 0 && t.named != "" {
			path += "." + t.named
		}
	}
	return badRequest("%s: %s", path, fmt.Sprintf(format, args...))
}

// element reads one value of the tensor's type.
func (t *tensorReader) element(level int) error {
	switch t.dtype {
	case model.Bytes:
		return t.text(level)
	case model.Bool:
		switch {
		case t.literal("true"):
			t.data = append(t.data, 1)
		case t.literal("false"):
			t.data = append(t.data, 0)
		default:
			return t.wrong(level, "expected true or false, got %s", t.what())
		}
		return nil
	}
	if t.nullIsNaN && (t.dtype == model.Float32 || t.dtype == model.Float64) && t.null() {
		t.store(number{special: 'N'})
		return nil
	}
	if c := t.peek(); c == '"' || c == '{' || c == 't' || c == 'f' || c == 'n' {
		return t.wrong(level, "expected a number (%v), got %s", t.dtype, t.what())
	}
	n, err := t.number()
	if err != nil {
		return err
	}
	if !t.store(n) {
		return t.wrong(level, "%s is no %v", t.b[n.start:n.end], t.dtype)
	}
	return nil
}

// store appends a number; false if it does not fit.
func (t *tensorReader) store(n number) (ok bool) {
	var i int64
	var u uint64
	var f float64
	var f32 float32
	switch t.dtype {
	case model.Float32:
		f32, ok = n.float32(t.b)
		t.data = binary.LittleEndian.AppendUint32(t.data, math.Float32bits(f32))
	case model.Float64:
		f, ok = n.float64(t.b)
		t.data = binary.LittleEndian.AppendUint64(t.data, math.Float64bits(f))
	case model.Float16:
		f, ok = n.float64(t.b)
		half, fits := toHalf(f)
		ok = ok && fits
		t.data = binary.LittleEndian.AppendUint16(t.data, half)
	case model.BFloat16:
		f, ok = n.float64(t.b)
		brain, fits := toBrain(f)
		ok = ok && fits
		t.data = binary.LittleEndian.AppendUint16(t.data, brain)
	case model.Int8, model.Int16, model.Int32, model.Int64:
		i, ok = n.int(t.b, 8*t.dtype.Size())
		t.data = appendUint(t.data, uint64(i), t.dtype.Size())
	case model.Uint8, model.Uint16, model.Uint32, model.Uint64:
		u, ok = n.uint(t.b, 8*t.dtype.Size())
		t.data = appendUint(t.data, u, t.dtype.Size())
	}
	return ok
}

func appendUint(b []byte, v uint64, size int) []byte {
	for range size {
		b = append(b, byte(v))
		v >>= 8
	}
	return b
}

// text reads a string or {"b64": "…"}.
func (t *tensorReader) text(level int) error {
	var err error
	var v []byte
	switch c := t.peek(); {
	case c == '"':
		v, err = t.str()
	case c == '{' && t.isB64():
		v, err = t.b64()
	case c == '{':
		return t.wrong(level, `expected a string or {"b64": "…"}, got an object of another form`)
	default:
		return t.wrong(level, `expected a string or {"b64": "…"}, got %s`, t.what())
	}
	if err != nil {
		return t.wrong(level, "%v", err)
	}
	t.strings = append(t.strings, v)
	return nil
}

// b64 reads {"b64": "…"} into its bytes.
func (s *scanner) b64() ([]byte, error) {
	var out []byte
	err := s.object(func(string) error {
		text, err := s.str()
		if err != nil {
			return err
		}
		out, err = decodeBase64(text)
		return err
	})
	return out, err
}

// decodeBase64 takes both alphabets, with or without padding, as clients' libraries differ.
func decodeBase64(text []byte) ([]byte, error) {
	enc := base64.StdEncoding
	if bytes.ContainsAny(text, "-_") {
		enc = base64.URLEncoding
	}
	if !bytes.HasSuffix(text, []byte("=")) {
		enc = enc.WithPadding(base64.NoPadding)
	}
	out := make([]byte, enc.DecodedLen(len(text)))
	n, err := enc.Decode(out, text)
	if err != nil {
		return nil, badRequest("invalid base64: %v", err)
	}
	return out[:n], nil
}
