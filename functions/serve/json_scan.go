package serve

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON from a body, byte by byte and without a tree, so that numbers can go straight into a tensor. It is
// strict: RFC 8259, valid UTF-8 and a bound on nesting; only the three non-finite numbers may be allowed on top.
type scanner struct {
	b []byte
	i int
	// maxDepth bounds nested lists and objects; depth counts those open now.
	maxDepth, depth int
	// nonFinite allows NaN, Infinity and -Infinity, which clients of TensorFlow Serving and Triton send.
	nonFinite bool
	// nullIsNaN has null mean NaN where a floating-point number is expected, as clients of MLServer and KServe send it.
	nullIsNaN bool
	// memory is for the tensors that are read.
	memory *memory
}

func (s *scanner) fail(format string, args ...any) error {
	return badRequest("JSON parse error at offset %d: "+format, append([]any{s.i}, args...)...)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c || s.i >= len(s.b) {
		return s.fail("expected %q, got %s", c, s.what())
	}
	s.i++
	return nil
}

// end reports what follows a whole document.
func (s *scanner) end() error {
	if s.peek(); s.i < len(s.b) {
		return s.fail("unexpected data after the request: %s", s.what())
	}
	return nil
}

// open enters a list or an object.
func (s *scanner) open(c byte) error {
	if err := s.expect(c); err != nil {
		return err
	}
	if s.depth++; s.depth > s.maxDepth {
		return s.fail("nested deeper than %d", s.maxDepth)
	}
	return nil
}

// more reports whether another element follows in a list or an object that ends with c; n elements were read before.
func (s *scanner) more(n int, c byte) (bool, error) {
	switch got := s.peek(); {
	case got == c:
		s.i++
		s.depth--
		return false, nil
	case n == 0:
		return true, nil
	case got == ',':
		s.i++
		if s.peek() == c {
			return false, s.fail("expected a value after the comma, got %q", c)
		}
		return true, nil
	}
	return false, s.fail("expected a comma or %q, got %s", c, s.what())
}

// object calls field for each key; field reads the value.
func (s *scanner) object(field func(key string) error) error {
	if err := s.open('{'); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := s.more(n, '}')
		if err != nil || !more {
			return err
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := field(string(key)); err != nil {
			return err
		}
	}
}

// list calls element with each index; element reads the value.
func (s *scanner) list(element func(i int) error) error {
	if err := s.open('['); err != nil {
		return err
	}
	for n := 0; ; n++ {
		more, err := s.more(n, ']')
		if err != nil || !more {
			return err
		}
		if err := element(n); err != nil {
			return err
		}
	}
}

// str reads a string. The result may be a part of the body.
func (s *scanner) str() ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	start, ascii := s.i, true
	for i := start; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			text := s.b[start:i:i]
			if !ascii && !utf8.Valid(text) {
				return nil, s.fail("the string is not valid UTF-8")
			}
			s.i = i + 1
			return text, nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			s.i = i
			return nil, s.fail("control character %q in a string", c)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.i = len(s.b)
	return nil, s.fail("the string has no end")
}

// escapes after a backslash, but for u.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped reads a string that has escapes, from its first byte on.
func (s *scanner) escaped(start int) ([]byte, error) {
	var out []byte
	for s.i = start; s.i < len(s.b); {
		c := s.b[s.i]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return nil, s.fail("the string is not valid UTF-8")
			}
			s.i++
			return out, nil
		case c < ' ':
			return nil, s.fail("control character %q in a string", c)
		case c != '\\':
			out = append(out, c)
			s.i++
		case s.i+1 < len(s.b) && s.b[s.i+1] == 'u':
			r, err := s.unicode()
			if err != nil {
				return nil, err
			}
			out = utf8.AppendRune(out, r)
		case s.i+1 < len(s.b) && escapes[s.b[s.i+1]] != 0:
			out = append(out, escapes[s.b[s.i+1]])
			s.i += 2
		default:
			return nil, s.fail("invalid escape in a string")
		}
	}
	return nil, s.fail("the string has no end")
}

// unicode reads \uXXXX or a surrogate pair of them. A lone surrogate is U+FFFD, as in encoding/json.
func (s *scanner) unicode() (rune, error) {
	r, ok := hex4(s.b[s.i:])
	if !ok {
		return 0, s.fail(`invalid escape: expected \u and four hexadecimal digits`)
	}
	s.i += 6
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(s.b[s.i:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				s.i += 6
				return pair, nil
			}
		}
		return utf8.RuneError, nil
	}
	return r, nil
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// literal reads true, false or null.
func (s *scanner) literal(word string) bool {
	if s.peek(); bytes.HasPrefix(s.b[s.i:], []byte(word)) {
		s.i += len(word)
		return true
	}
	return false
}

// null reads null, by which the clients of many languages say that a member is not given.
func (s *scanner) null() bool { return s.peek() == 'n' && s.literal("null") }

// skip reads a value of any kind and forgets it.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.list(func(int) error { return s.skip() })
	case '"':
		_, err := s.str()
		return err
	}
	if s.literal("true") || s.literal("false") || s.literal("null") {
		return nil
	}
	_, err := s.number()
	return err
}

// pass steps over a value that is read later: a list or an object is only followed to its end.
func (s *scanner) pass() error {
	if c := s.peek(); c != '[' && c != '{' {
		return s.skip()
	}
	depth := 0
	for i := s.i; ; i++ {
		i, depth = structural(s.b, i, depth)
		if i >= len(s.b) {
			break
		}
		switch s.b[i] {
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				s.i = i + 1
				return nil
			}
		case '"':
			i = endOfString(s.b, i+1)
		}
	}
	s.i = len(s.b)
	return s.fail("the request ends inside a list or an object")
}

// structural returns where from i on the next byte is that may be a quote, a bracket or a brace, and the depth there. It
// looks at eight at once: a quote is found by itself, the others by a bit that digits, commas, points and white space lack.
// Brackets and braces among the eight are counted if they leave something open.
func structural(b []byte, i, depth int) (int, int) {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, others := zeros(x^ones*'"'), x&(ones<<6)
		if quote|others == 0 {
			continue
		}
		// A bracket and a brace differ in one bit.
		opened, closed := zeros((x|ones<<5)^ones*'{'), zeros((x|ones<<5)^ones*'}')
		if n := bits.OnesCount64(closed); quote == 0 && n < depth {
			depth += bits.OnesCount64(opened) - n
			continue
		}
		return i + bits.TrailingZeros64(quote|others<<1)/8, depth
	}
	return i, depth
}

// zeros marks the bytes that are zero with their high bit.
func zeros(x uint64) uint64 { return ^((x&^high + (high - ones)) | x) & high }

// endOfString finds the quote that ends a string whose text begins at i, len(b) if there is none.
func endOfString(b []byte, i int) int {
	for i < len(b) {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			break
		}
		i += n
		slashes := 0
		for i-slashes > 0 && b[i-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
		i++
	}
	return len(b)
}

// isB64 reports whether the value that follows is {"b64": "…"}, which means bytes and not named inputs.
func (s *scanner) isB64() bool {
	p := *s
	p.peek()
	if p.open('{') != nil {
		return false
	}
	if key, err := p.str(); err != nil || string(key) != "b64" || p.expect(':') != nil || p.peek() != '"' {
		return false
	}
	p.i = endOfString(p.b, p.i+1) + 1
	return p.i < len(p.b) && p.peek() == '}'
}

// what describes the value that follows, for an error.
func (s *scanner) what() string {
	if s.i >= len(s.b) {
		return "the end of the request"
	}
	switch c := s.b[s.i]; {
	case c == '[':
		return "a list"
	case c == '{':
		return "an object"
	case c == '"':
		return "a string"
	case c == '-' || c >= '0' && c <= '9':
		start := s.i
		end := start
		for end < len(s.b) && end-start < 40 && bytes.IndexByte([]byte("+-.eE0123456789"), s.b[end]) >= 0 {
			end++
		}
		return string(s.b[start:end])
	}
	for _, word := range []string{"true", "false", "null", "NaN", "Infinity"} {
		if bytes.HasPrefix(s.b[s.i:], []byte(word)) {
			return word
		}
	}
	r, _ := utf8.DecodeRune(s.b[s.i:])
	return string(append([]byte("'"), append(utf8.AppendRune(nil, r), '\'')...))
}
