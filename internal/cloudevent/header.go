// Package cloudevent is what weir needs of CloudEvents' HTTP binding and the SDK leaves out: how attributes are written
// in headers (CloudEvents HTTP protocol binding 1.0.2, 3.1.3.2).
package cloudevent

import (
	"net/http"
	"strings"
)

// prefix is that of an attribute's header.
const prefix = "Ce-"

// Decode returns the attribute that a header's value stands for. What is not well-formed stays as it is.
func Decode(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = unquote(value[1 : len(value)-1])
	}
	if !strings.Contains(value, "%") {
		return value
	}
	b := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			high, ok := digit(value[i+1])
			low, also := digit(value[i+2])
			if ok && also {
				b = append(b, high<<4|low)
				i += 2
				continue
			}
		}
		b = append(b, value[i])
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// unquote takes the backslashes off, as older senders write them.
func unquote(value string) string {
	if !strings.Contains(value, `\`) {
		return value
	}
	b := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b = append(b, value[i])
	}
	return string(b)
}

func digit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// plain reports whether a byte stands for itself in a header.
func plain(c byte) bool { return c > ' ' && c < 0x7f && c != '"' && c != '%' }

// Encode returns the header's value for an attribute: what is no printable ASCII, a space, a double quote or a percent
// sign is percent-encoded.
func Encode(value string) string {
	const hex = "0123456789ABCDEF"
	for i := range len(value) {
		if plain(value[i]) {
			continue
		}
		b := append(make([]byte, 0, 3*len(value)), value[:i]...)
		for _, c := range []byte(value[i:]) {
			if plain(c) {
				b = append(b, c)
			} else {
				b = append(b, '%', hex[c>>4], hex[c&15])
			}
		}
		return string(b)
	}
	return value
}

// DecodeHeader returns h with its attributes decoded; h stays as it is.
func DecodeHeader(h http.Header) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if strings.HasPrefix(name, prefix) {
			decoded := make([]string, len(values))
			for i, v := range values {
				decoded[i] = Decode(v)
			}
			values = decoded
		}
		out[name] = values
	}
	return out
}

// EncodeHeader encodes the attributes of h in place.
func EncodeHeader(h http.Header) {
	for name, values := range h {
		if strings.HasPrefix(name, prefix) {
			for i, v := range values {
				values[i] = Encode(v)
			}
		}
	}
}

// EncodeWriter returns w so that the attributes of an event that is written to it are encoded.
func EncodeWriter(w http.ResponseWriter) http.ResponseWriter { return encodeWriter{w} }

type encodeWriter struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w encodeWriter) WriteHeader(status int) {
	EncodeHeader(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w encodeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
