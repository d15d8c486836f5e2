package serve

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
)

// nested makes up a JSON value: lists and objects, strings with brackets and quotes, numbers with exponents.
func nested(r *rand.Rand, depth int) string {
	kind := r.IntN(7)
	if depth == 0 {
		kind = 2 + r.IntN(5)
	}
	var parts []string
	for range r.IntN(5) {
		v := ""
		if kind < 2 {
			v = nested(r, depth-1)
		}
		if kind == 1 {
			v = `"k]}[{\"":` + v
		}
		parts = append(parts, v)
	}
	switch kind {
	case 0:
		return "[" + strings.Join(parts, ",") + "]"
	case 1:
		return "{" + strings.Join(parts, " , ") + "}"
	case 2:
		return `"a[{\\\"]}"`
	case 3:
		return "-1.5e-7"
	case 4:
		return "true"
	case 5:
		return "null"
	}
	return "0.12345678"
}

// TestPassEndsWhereTheValueDoes compares with encoding/json.
func TestPassEndsWhereTheValueDoes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		value := "[" + nested(r, 6) + "]"
		body := []byte(value + `,{"more":["` + nested(r, 0))
		s := &scanner{b: body, maxDepth: 16}
		if err := s.pass(); err != nil || s.i != len(value) {
			t.Fatalf("%s: passed %d of %d bytes, %v", body, s.i, len(value), err)
		}
		if short := value[:r.IntN(len(value))]; (&scanner{b: []byte(short), maxDepth: 16}).pass() == nil {
			t.Fatalf("%s was passed, but does not end", short)
		}
	}
}

// TestListsOfPlainNumbers reads lists in the usual form with one thing in them that is not, at every place.
func TestListsOfPlainNumbers(t *testing.T) {
	t.Parallel()
	good := "[[0.5,-1.25],[2,3.00000001],[0,-0.0],[123456789012345678,1.12345678901234567],[4,5]]"
	odd := []string{"1e2", "01", "-", ".5", "1.", "[1]", "null", `"a"`, "NaN", "1 ", " 1", "\t1", "1]", "1,", "1,2", "", "1234567890123456789.5", "1.000000059604644775390625"}
	read := func(body string) ([]byte, error) {
		s := &scanner{b: []byte(body + strings.Repeat(" ", 2*plainRoom)), maxDepth: 4}
		r := newTensorReader(s, toy().meta.Signatures["serving_default"].Inputs[0], "t")
		if err := r.value(0); err != nil {
			return nil, err
		}
		return r.data, s.end()
	}
	fields := strings.FieldsFunc(good, func(c rune) bool { return strings.ContainsRune("[],", c) })
	for _, field := range fields {
		for _, o := range append(odd, field) {
			body := strings.Replace(good, field, o, 1)
			data, err := read(body)
			var want [][]float32
			valid := json.Unmarshal([]byte(body), &want) == nil && !strings.Contains(body, "null")
			for _, row := range want {
				valid = valid && len(row) == 2
			}
			if valid != (err == nil) {
				t.Errorf("%s: %v, valid %v", body, err, valid)
				continue
			}
			if valid && !bytes.Equal(data, floats(nil, flatten(want)...).Data) {
				t.Errorf("%s: read % x", body, data)
			}
		}
	}
}

func flatten(rows [][]float32) (all []float32) {
	for _, row := range rows {
		all = append(all, row...)
	}
	return all
}
