package serve

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func scanNumber(t testing.TB, text string) (number, bool) {
	t.Helper()
	s := &scanner{b: []byte(text), maxDepth: 4}
	n, err := s.number()
	return n, err == nil && s.i == len(text)
}

// checkNumber compares one number with strconv and encoding/json.
func checkNumber(t testing.TB, text string) {
	t.Helper()
	n, ok := scanNumber(t, text)
	if valid := json.Valid([]byte(text)) && text[0] != ' '; ok != valid {
		t.Fatalf("%q: read %v, valid %v", text, ok, valid)
	}
	plain, end, isPlain := plain32([]byte(text+","+strings.Repeat(" ", plainRoom)), 0)
	if isPlain && (!ok || end != len(text)) {
		t.Fatalf("%q: plain32 took %d bytes of what is no number", text, end)
	}
	if !ok {
		return
	}
	b := []byte(text)
	want64, err := strconv.ParseFloat(text, 64)
	if got, fits := n.float64(b); fits != (err == nil) || fits && math.Float64bits(got) != math.Float64bits(want64) {
		t.Errorf("%q: float64 %v %v, want %v %v", text, got, fits, want64, err)
	}
	want32, err := strconv.ParseFloat(text, 32)
	if got, fits := n.float32(b); fits != (err == nil) || fits && math.Float32bits(got) != math.Float32bits(float32(want32)) {
		t.Errorf("%q: float32 %v %v, want %v %v", text, got, fits, want32, err)
	}
	if isPlain && plain != math.Float32bits(float32(want32)) {
		t.Errorf("%q: plain32 %v, want %v", text, math.Float32frombits(plain), want32)
	}
	for _, bits := range []int{8, 16, 32, 64} {
		wantInt, err := strconv.ParseInt(text, 10, bits)
		if got, fits := n.int(b, bits); fits != (err == nil) || fits && got != wantInt {
			t.Errorf("%q: int%d %v %v, want %v %v", text, bits, got, fits, wantInt, err)
		}
		wantUint, err := strconv.ParseUint(text, 10, bits)
		if text == "-0" {
			wantUint, err = 0, nil
		}
		if got, fits := n.uint(b, bits); fits != (err == nil) || fits && got != wantUint {
			t.Errorf("%q: uint%d %v %v, want %v %v", text, bits, got, fits, wantUint, err)
		}
	}
}

var numbers = []string{
	"0", "-0", "0.0", "-0.0", "1", "-1", "127", "128", "-128", "-129", "255", "256", "65535", "65536", "2147483648", "4294967296",
	"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
	"18446744073709551616", "99999999999999999999999", "0.1", "0.2", "3.4028235e38", "3.4028236e38", "1e39", "1e-45", "7e-46",
	"1.17549435e-38", "1.17549428e-38", "5e-324", "2e-324", "1.7976931348623157e308", "1.7976931348623159e308", "1e400", "-1e400", "1e-400",
	"16777217", "16777217.000000001", "16777216.9999999999", "9007199254740993", "0.43921568627450983", "1e22", "1e23", "1E+2", "1e-2",
	"123456789012345678901234567890", "0.000000000000000000000000000000123456789", "1.00000017881393421514957253748434595763683319091796875001",
	"1.00000017881393432617187499", "1.00000017881393432617187500", "1.00000017881393432617187501", "00", "01", "1.", ".5", "1e", "1e+", "-", "+1", "0x1", "1_0", "1 ", "", "NaN",
	"100000000000000000000", "1000000000000000000000e-5", "1e99999999999999999999", "0e99999999999999999999",
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, text := range numbers {
		if text != "" && text != "1 " {
			checkNumber(t, text)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		f32 := math.Float32frombits(r.Uint32())
		f64 := math.Float64frombits(r.Uint64())
		if f32 == f32 && !math.IsInf(float64(f32), 0) {
			checkNumber(t, string(appendFloat(nil, float64(f32), 32)))
			// The middle between two floats, where rounding twice would show.
			middle := (float64(f32) + float64(math.Nextafter32(f32, 0))) / 2
			checkNumber(t, strconv.FormatFloat(middle, 'e', 17, 64))
		}
		if f64 == f64 && !math.IsInf(f64, 0) {
			checkNumber(t, strconv.FormatFloat(f64, 'g', r.IntN(21), 64))
		}
		checkNumber(t, strconv.FormatFloat(r.Float64()*512-256, 'f', r.IntN(20), 64))
	}
}

func TestHalves(t *testing.T) {
	t.Parallel()
	for h := range 1 << 16 {
		f := fromHalf(uint16(h))
		back, ok := toHalf(float64(f))
		if f == f && (!ok || back != uint16(h)) || f != f && back&0x7fff <= 0x7c00 {
			t.Fatalf("half %#x is %v and then %#x", h, f, back)
		}
		b := fromBrain(uint16(h))
		back, ok = toBrain(float64(b))
		if b == b && (!ok || back != uint16(h)) || b != b && back&0x7fff <= 0x7f80 {
			t.Fatalf("bfloat16 %#x is %v and then %#x", h, b, back)
		}
	}
	for f, want := range map[float64]uint16{2049: 0x6800, 2051: 0x6802, 65519.9: 0x7bff, 6.2e-5: 0x0410, 0x1p-25: 0, 0x1.8p-25: 1} {
		if got, ok := toHalf(f); got != want || !ok {
			t.Errorf("toHalf(%v) = %#x, want %#x", f, got, want)
		}
	}
}
