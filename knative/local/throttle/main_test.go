package throttle

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// transportFunc is a transport to replicas that do not exist.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer is a 200 with a text.
func answer(text string) *http.Response {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
	}
}

// held is a fake of all replicas: a request arrives at a replica and is answered when the test says so.
type held struct {
	arrived chan string // the request's path and replica address, "/a 1:1"
	release chan error  // one value answers one request; an error fails it
}

func newHeld() *held { return &held{arrived: make(chan string, 1000), release: make(chan error)} }

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	h.arrived <- r.URL.Path + " " + r.URL.Host
	select {
	case err := <-h.release:
		if err != nil {
			return nil, err
		}
		return answer(r.URL.Host), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func get(ctx context.Context, path string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://rev"+path, nil)
	if err != nil {
		panic(err)
	}
	return r
}

// result is what RoundTrip gave; the answer's body is read and closed.
type result struct {
	text   string
	header http.Header
	err    error
}

// do makes a whole exchange.
func do(t *Throttle, r *http.Request) result {
	resp, err := t.RoundTrip(r)
	if err != nil {
		return result{err: err}
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return result{text: string(b), header: resp.Header, err: err}
}

// start makes a whole exchange in a goroutine.
func start(t *Throttle, r *http.Request) <-chan result {
	c := make(chan result, 1)
	go func() { c <- do(t, r) }()
	return c
}
