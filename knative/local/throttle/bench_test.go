package throttle

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkOverhead is what the throttle adds to a transport that costs nothing.
func BenchmarkOverhead(b *testing.B) {
	resp := &http.Response{StatusCode: http.StatusOK}
	free := transportFunc(func(*http.Request) (*http.Response, error) {
		r := *resp
		r.Header, r.Body = make(http.Header, 4), http.NoBody
		return &r, nil
	})
	benchmarks := []struct {
		name string
		via  http.RoundTripper
	}{
		{"bare", free},
		{"unlimited", one(Options{Transport: free}, "1:1")},
		{"concurrency10", one(Options{Transport: free, ContainerConcurrency: 10}, "1:1")},
	}
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			req := get(context.Background(), "/")
			for b.Loop() {
				exchange(b, bm.via, req)
			}
		})
	}
}

// BenchmarkRoundTrip is a whole exchange with a server over loopback, with the throttle and without.
func BenchmarkRoundTrip(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	addr := s.Listener.Addr().String()
	bare := newTransport()
	defer bare.CloseIdleConnections()
	th := one(Options{}, addr)
	defer th.Close()
	for _, size := range []int{0, 1 << 10, 600 << 10} {
		body := strings.Repeat("x", size)
		for name, via := range map[string]http.RoundTripper{"bare": bare, "throttle": th} {
			b.Run(strings.Join([]string{name, sizeName(size)}, "/"), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					req := post(context.Background(), io.NopCloser(struct{ io.Reader }{strings.NewReader(body)}))
					req.ContentLength = int64(size)
					req.URL.Host = addr
					exchange(b, via, req)
				}
			})
		}
	}
}

func sizeName(n int) string {
	if n == 0 {
		return "empty"
	}
	return fmt.Sprint(n>>10, "KiB")
}

func one(o Options, addr string) *Throttle {
	t := New(o)
	t.Add("a", addr)
	return t
}

func exchange(b *testing.B, via http.RoundTripper, req *http.Request) {
	resp, err := via.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
