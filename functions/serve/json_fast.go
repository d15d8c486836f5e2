package serve

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// An image in JSON is 150,000 numbers in lists of three: what reads them takes as long as all else that a request needs
// besides the model. Here they are read eight digits at a time, if they have the usual form. What has another form is left to
// value and number, which say what is wrong, too.

// plainRoom is how many bytes of the body have to follow the beginning of a number that plain32 reads, so that it can load
// eight at a time.
const plainRoom = 48

const (
	maxPlain = 18 // digits that fit an int64: its conversion takes one instruction, that of a uint64 several and a branch
	ones     = 0x0101010101010101
	high     = 0x80 * ones
)

// whole10 are powers of ten, and tenth10 their nearest reciprocals.
var (
	whole10 = [16]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}
	tenth10 = [maxPlain + 1]float64{1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14,
		1e-15, 1e-16, 1e-17, 1e-18}
)

// plain32 reads a number of the usual form, digits with a fraction and no exponent, that a comma or a bracket follows, as the
// bits of the nearest float32. It returns where the number ends.
func plain32(b []byte, i int) (f uint32, end int, ok bool) {
	if len(b)-i < plainRoom {
		return 0, 0, false
	}
	var sign uint32
	if b[i] == '-' {
		sign = 1 << 31
		i++
	}
	first, c := i, b[i]-'0'
	if c > 9 {
		return 0, 0, false
	}
	mant := uint64(c)
	for i++; i < len(b) && b[i]-'0' <= 9; i++ {
		mant = mant*10 + uint64(b[i]-'0')
	}
	digits, fraction := i-first, 0
	if digits > 1 && c == 0 || digits > maxPlain || len(b)-i < 3*8+3 {
		return 0, 0, false
	}
	if b[i] == '.' {
		i++
		// Sixteen digits are loaded at once, since how many there are differs from number to number: a branch would often be
		// foreseen wrongly, and where the next number begins would be known late.
		x, y := binary.LittleEndian.Uint64(b[i:])^ones*'0', binary.LittleEndian.Uint64(b[i+8:])^ones*'0'
		n, m := leading(x), leading(y)
		m &= -(n / 8)
		mant = (mant*whole10[n&15]+eight(x, n))*whole10[m&15] + eight(y, m)
		if fraction = n + m; fraction == 16 {
			x = binary.LittleEndian.Uint64(b[i+16:]) ^ ones*'0'
			n = leading(x)
			mant = mant*whole10[n&15] + eight(x, n)
			fraction += n
		}
		i += fraction
		if digits += fraction; fraction == 0 || digits > maxPlain {
			return 0, 0, false
		}
	}
	if c := b[i]; c != ',' && c != ']' {
		return 0, 0, false
	}
	// Conversion, reciprocal and product are rounded, which leaves an error of less than 4 units in the last place of a
	// float64, and the result is neither subnormal nor infinite: see nearest32.
	v := float64(int64(mant)) * tenth10[fraction]
	if nearMiddle(v) {
		return 0, 0, false
	}
	return math.Float32bits(float32(v)) | sign, i, true
}

// leading counts the digits with which eight bytes begin that were digits before '0' was taken from each.
func leading(x uint64) int {
	// Bytes above 9 get their high bit; those behind the first one may too.
	return bits.TrailingZeros64((x+ones*0x76|x)&high) / 8
}

// eight is the number of the first n of eight digits.
func eight(x uint64, n int) uint64 {
	// They move to the end, so that zeros come before them.
	x <<= uint(64 - 8*n)
	// Neighbours are put together: eight digits, four pairs, one number (Lemire, Number Parsing at a Gigabyte per Second, 2021).
	const pairs = 0x000000ff000000ff
	x = x*10 + x>>8
	return (x&pairs*(100+1000000<<32) + x>>16&pairs*(1+10000<<32)) >> 32
}

// list32 reads a list of n plain numbers; without a trace if it is another one.
func (t *tensorReader) list32(n int) bool {
	b, i, at := t.b, t.i+1, len(t.data)
	if n > (cap(t.data)-at)/4 {
		return false // its memory grows by append
	}
	data := t.data[at : at+4*n]
	for ; len(data) >= 4; data = data[4:] {
		f, end, ok := plain32(b, i)
		if !ok {
			return false
		}
		binary.LittleEndian.PutUint32(data, f)
		i = end + 1
		if last := len(data) == 4; last != (b[end] == ']') {
			return false
		}
		if b[i] == ' ' { // as Python writes it
			i++
		}
	}
	t.i, t.data = i, t.data[:at+4*n]
	return true
}
