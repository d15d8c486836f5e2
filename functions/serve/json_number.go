package serve

import (
	"bytes"
	"math"
	"strconv"
)

// number is a JSON number as it was read: (-1)^neg x mant x 10^exp, or one of the non-finite ones.
type number struct {
	mant uint64
	exp  int
	// start and end bound the number's text in the body.
	start, end int
	neg        bool
	// integer says that the text has neither fraction nor exponent.
	integer bool
	// cut says that mant lacks digits after the 19th.
	cut bool
	// special is 'N' for NaN, 'I' for Infinity, 0 for the finite ones.
	special byte
}

// maxDigits of a decimal always fit a uint64.
const maxDigits = 19

// number reads a number's text and its decimal value in one pass.
func (s *scanner) number() (number, error) {
	s.peek()
	b, i := s.b, s.i
	n := number{start: i, integer: true}
	if i < len(b) && b[i] == '-' {
		n.neg = true
		i++
	}
	if i >= len(b) || b[i] < '0' || b[i] > '9' {
		return s.special(n, i)
	}
	digits, first := 0, i
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		if digits < maxDigits {
			n.mant = n.mant*10 + uint64(b[i]-'0')
			if n.mant != 0 {
				digits++
			}
		} else {
			n.cut = true
			n.exp++
		}
	}
	if b[first] == '0' && i > first+1 {
		return n, s.fail("a number begins with 0: %s", s.what())
	}
	if i < len(b) && b[i] == '.' {
		n.integer = false
		i++
		first = i
		for ; i < len(b) && b[i]-'0' <= 9; i++ {
			if digits < maxDigits {
				n.mant = n.mant*10 + uint64(b[i]-'0')
				n.exp--
				if n.mant != 0 {
					digits++
				}
			} else {
				n.cut = true
			}
		}
		if i == first {
			return n, s.fail("a number has no digit after its point: %s", s.what())
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		var ok bool
		n.integer = false
		if i, ok = exponent(b, i+1, &n.exp); !ok {
			return n, s.fail("a number has no digit in its exponent: %s", s.what())
		}
	}
	n.end, s.i = i, i
	return n, nil
}

func exponent(b []byte, i int, exp *int) (int, bool) {
	neg := false
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		neg = b[i] == '-'
		i++
	}
	first, e := i, 0
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		// Beyond this every number is zero or infinite; the bound only keeps e from overflowing.
		if e < 1<<24 {
			e = e*10 + int(b[i]-'0')
		}
	}
	if neg {
		e = -e
	}
	*exp += e
	return i, i > first
}

// special reads what stands where a number's digits should be.
func (s *scanner) special(n number, i int) (number, error) {
	for _, word := range []string{"NaN", "Infinity", "Inf"} {
		if !bytes.HasPrefix(s.b[i:], []byte(word)) {
			continue
		}
		if !s.nonFinite {
			return n, s.fail("%s is not JSON here", word)
		}
		n.special, n.integer = word[0], false
		n.end = i + len(word)
		s.i = n.end
		return n, nil
	}
	return n, s.fail("expected a value, got %s", s.what())
}

// pow10 are the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
	1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float64 returns the nearest float64; false if the number is too large for it.
func (n number) float64(b []byte) (float64, bool) {
	if n.special != 0 {
		return n.nonFinite(), true
	}
	if !n.cut && n.mant < 1<<53 && n.exp > -len(pow10) && n.exp < len(pow10) {
		// Both operands are exact, so that one rounding is left (Clinger 1990).
		return n.sign(scaled(n.mant, n.exp)), true
	}
	f, err := strconv.ParseFloat(string(b[n.start:n.end]), 64)
	return f, err == nil
}

// float32 returns the nearest float32; false if the number is too large for it.
func (n number) float32(b []byte) (float32, bool) {
	if n.special != 0 {
		return float32(n.nonFinite()), true
	}
	if f, ok := nearest32(n.mant, n.exp, n.neg); ok {
		return f, true
	}
	f, err := strconv.ParseFloat(string(b[n.start:n.end]), 32)
	return float32(f), err == nil
}

// nearest32 returns the float32 that is nearest to mant x 10^exp, or to a number that has more digits than mant. It is
// false if that takes more than floating-point arithmetic.
//
// The mantissa's 19 digits and two roundings leave an error of less than 4 units in the last place of a float64. It
// decides the float32 only if the float64 lies that near to the middle between two of them, which the 29 bits that a
// float32 lacks show. Subnormal and infinite results are left to strconv.
func nearest32(mant uint64, exp int, neg bool) (float32, bool) {
	if exp <= -len(pow10) || exp >= len(pow10) {
		return 0, false
	}
	f := scaled(mant, exp)
	if mant != 0 && (f < 0x1p-126 || f >= 0x1p127 || nearMiddle(f)) {
		return 0, false
	}
	if neg {
		f = -f
	}
	return float32(f), true
}

// nearMiddle says whether f lies within 8 units of its last place of the middle between two float32s.
func nearMiddle(f float64) bool {
	const half = 1 << 28
	return math.Float64bits(f)&(1<<29-1)-(half-8) <= 16
}

func scaled(mant uint64, exp int) float64 {
	if exp < 0 {
		return float64(mant) / pow10[-exp]
	}
	return float64(mant) * pow10[exp]
}

func (n number) sign(f float64) float64 {
	if n.neg {
		return -f
	}
	return f
}

func (n number) nonFinite() float64 {
	if n.special == 'N' {
		return math.NaN()
	}
	return n.sign(math.Inf(1))
}

// int returns the integer if it lies within bits; false if it does not or has a fraction or an exponent.
func (n number) int(b []byte, bits int) (int64, bool) {
	if !n.integer {
		return 0, false
	}
	if n.cut || n.mant > math.MaxInt64 {
		v, err := strconv.ParseInt(string(b[n.start:n.end]), 10, bits)
		return v, err == nil
	}
	v := int64(n.mant)
	if n.neg {
		v = -v
	}
	limit := int64(1) << (bits - 1)
	return v, bits == 64 || v >= -limit && v < limit
}

// uint is int for unsigned numbers.
func (n number) uint(b []byte, bits int) (uint64, bool) {
	if !n.integer || n.neg && n.mant != 0 {
		return 0, false
	}
	if n.cut {
		v, err := strconv.ParseUint(string(b[n.start:n.end]), 10, bits)
		return v, err == nil
	}
	return n.mant, bits == 64 || n.mant>>bits == 0
}
