package router

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
)

// ensureTrace gives a request a W3C trace context (https://www.w3.org/TR/trace-context/) if it has none that is valid.
// The router makes no spans, so it hands on a valid one as it is; one that it makes is not marked as sampled.
func ensureTrace(h http.Header) {
	if v := h["Traceparent"]; len(v) == 1 && validTraceparent(v[0]) {
		return
	}
	h.Del("Tracestate") // It belongs to the parent that is not there.
	var id [24]byte
	// Read never fails (crypto/rand).
	_, _ = rand.Read(id[:])
	id[0] |= 1 // An id of only zeros is not valid.
	id[16] |= 1
	b := make([]byte, 0, 55)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, id[:16])
	b = append(b, '-')
	b = hex.AppendEncode(b, id[16:])
	b = append(b, "-00"...)
	h["Traceparent"] = []string{string(b)}
}

// validTraceparent checks VERSION-TRACE-PARENT-FLAGS. Version 00 has no more; a later one may.
func validTraceparent(s string) bool {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return false
	}
	if len(s) > 55 && (s[:2] == "00" || s[55] != '-') {
		return false
	}
	return lowerHex(s[:2]) && lowerHex(s[3:35]) && lowerHex(s[36:52]) && lowerHex(s[53:55]) && notZero(s[3:35]) && notZero(s[36:52])
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func notZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return true
		}
	}
	return false
}
