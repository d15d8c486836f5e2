package cloudevent

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestHeaderValues: the examples of the HTTP binding, 3.1.3.2, and what is not well-formed.
func TestHeaderValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ header, attribute, again string }{
		{"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"},
		{"plain-1/2", "plain-1/2", "plain-1/2"},
		{"Euro%20€", "Euro €", "Euro%20%E2%82%AC"},
		{`"a \"b\" \\"`, `a "b" \`, `a%20%22b%22%20\`},
		{"%C3%A4%", "ä%", "%C3%A4%25"},
		{"%zz%2", "%zz%2", "%25zz%252"},
		{"%ff", "\uFFFD", "%EF%BF%BD"},
		{`"`, `"`, "%22"},
		{"", "", ""},
	} {
		if got := Decode(tt.header); got != tt.attribute {
			t.Errorf("%q is %q, want %q", tt.header, got, tt.attribute)
		}
		if got := Encode(tt.attribute); got != tt.again {
			t.Errorf("%q is written %q, want %q", tt.attribute, got, tt.again)
		}
	}
}

func TestHeader(t *testing.T) {
	t.Parallel()
	h := http.Header{"Ce-Id": {"%C3%A4"}, "Other": {"%C3%A4"}}
	if got := DecodeHeader(h); got.Get("Ce-Id") != "ä" || got.Get("Other") != "%C3%A4" || h.Get("Ce-Id") != "%C3%A4" {
		t.Errorf("%v, %v", got, h)
	}
	w := httptest.NewRecorder()
	out := EncodeWriter(w)
	out.Header().Set("Ce-Causationid", "ä")
	out.Header().Set("Other", "ä")
	out.WriteHeader(http.StatusOK)
	if h := w.Header(); h.Get("Ce-Causationid") != "%C3%A4" || h.Get("Other") != "ä" {
		t.Errorf("%v", h)
	}
}
