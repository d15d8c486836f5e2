package serve

import "math"

// toHalf rounds to the nearest IEEE 754 binary16, ties to even; false if a finite number is too large.
func toHalf(f float64) (uint16, bool) {
	sign := uint16(math.Float64bits(f) >> 48 & 0x8000)
	a := math.Abs(f)
	switch {
	case f != f:
		return 0x7e00, true
	case math.IsInf(a, 0):
		return sign | 0x7c00, true
	case a >= 65520: // half way between the largest, 65504, and what would be next
		return 0, false
	case a < 0x1p-14: // subnormal: a multiple of 2^-24; a full 1024 of them carries into the exponent
		return sign | uint16(math.RoundToEven(a*0x1p24)), true
	}
	frac, exp := math.Frexp(a) // a = frac x 2^exp, frac in [0.5, 1)
	mant := uint16(math.RoundToEven(frac * 2048))
	// A mantissa that rounds up to 2048 carries into the exponent, as it should.
	return sign | (uint16(exp+13)<<10 + mant), true
}

func fromHalf(h uint16) float32 {
	exp, mant := int(h>>10&31), float64(h&1023)
	var f float64
	switch {
	case exp == 31 && mant != 0:
		return float32(math.NaN())
	case exp == 31:
		f = math.Inf(1)
	case exp == 0:
		f = mant * 0x1p-24
	default:
		f = math.Ldexp(1024+mant, exp-25)
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return float32(f)
}

// toBrain rounds to the nearest bfloat16, ties to even; false if a finite number is too large.
func toBrain(f float64) (uint16, bool) {
	if f != f {
		return 0x7fc0, true
	}
	bits := math.Float32bits(float32(f))
	rounded := uint16((bits + 0x7fff + bits>>16&1) >> 16)
	return rounded, math.IsInf(f, 0) || rounded&0x7fff < 0x7f80
}

func fromBrain(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
