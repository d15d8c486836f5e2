package attack

import (
	"net/http"
	"testing"
)

// TestMessagesOfOneKind: what differs from request to request is left out, and nothing else.
func TestMessagesOfOneKind(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		`Post "http://127.0.0.1:8080/v1": dial tcp 127.0.0.1:8080: connect: connection refused`: `Post "http://ADDRESS/v1": dial tcp ADDRESS: connect: connection refused`,
		`read tcp 127.0.0.1:40123->127.0.0.1:8080: connection reset`:                            `read tcp ADDRESS: connection reset`,
		`read tcp [::1]:40123->[fe80::1%eth0]:8080: connection reset`:                           `read tcp ADDRESS: connection reset`,
		`Post "http://nowhere:1/": lookup nowhere on 10.0.0.1:53: no such host`:                 `Post "http://nowhere:1/": lookup nowhere on ADDRESS: no such host`,
	} {
		s := Shot{}
		if s.failed(message); s.Message != want {
			t.Errorf("%s is %s, want %s", message, s.Message, want)
		}
	}
	for body, want := range map[string]string{
		`{"error": "no such model \"a\": 3 others"}`: `no such model "a": N others`,
		`{"error": "cut`: "Bad Request", "": "Bad Request",
	} {
		s := Shot{}
		if s.answered(http.StatusBadRequest, http.Header{}, []byte(body)); s.Message != want {
			t.Errorf("%s is %s, want %s", body, s.Message, want)
		}
	}
}
