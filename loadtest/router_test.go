package loadtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local/throttle"
	"weir.dev/weir/router"
)

// engine is weir's data path on one machine before one replica: what `weir up` routes to.
type engine struct{ *throttle.Throttle }

func (engine) Changed() <-chan struct{} { return nil }

func (engine) Status(context.Context) ([]knative.ServiceStatus, error) {
	return []knative.ServiceStatus{{
		Name: "digits", URL: "http://digits.default.localhost", Ready: true, Model: true,
		Revisions: []knative.RevisionStatus{{Name: "digits-00001", Percent: 100, Ready: 1, Wanted: 1, State: knative.StateReady}},
	}}, nil
}

// listen serves a handler for the time of a benchmark and returns its address.
func listen(b *testing.B, h http.Handler) string {
	b.Helper()
	srv := httptest.NewServer(h)
	b.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// hops returns the addresses of a replica that answers at once, of a tuned httputil.ReverseProxy before it, and of the
// router with all it does: routing, limits, metrics, access line, queue.
func hops(b *testing.B) (direct, proxy, weir string) {
	b.Helper()
	answer := bytes.Repeat([]byte("x"), 1024)
	direct = listen(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	to := &url.URL{Scheme: "http", Host: direct}
	proxy = listen(b, &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to); p.SetXForwarded() },
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConnsPerHost: 1024, DisableCompression: true,
		},
		BufferPool: &pool{},
	})
	t := throttle.New(throttle.Options{Revision: "digits-00001", ContainerConcurrency: 64})
	b.Cleanup(t.Close)
	t.Add("one", direct)
	rt, err := router.New(router.Options{Backend: engine{t}, Log: zerolog.New(io.Discard)})
	if err != nil {
		b.Fatal(err)
	}
	if err := rt.Sync(b.Context()); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- rt.Run(b.Context()) }()
	b.Cleanup(func() { <-ended })
	return direct, proxy, listen(b, rt.Handler())
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte {
	if b, ok := p.Pool.Get().(*[32 << 10]byte); ok {
		return b[:]
	}
	return make([]byte, 32<<10)
}

func (p *pool) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }

// BenchmarkRouter compares the router with a tuned httputil.ReverseProxy in one run: what each adds to a request of one
// caller, and requests of 32 callers. All share the cores with the clients and the replica.
func BenchmarkRouter(b *testing.B) {
	for _, size := range []int{1 << 10, 600 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			direct, proxy, weir := hops(b)
			body := bytes.Repeat([]byte("y"), size)
			const path = "/v1/models/digits:predict"
			sides := []func() error{post("http://"+direct+path, "application/json", body),
				post("http://"+proxy+path, "application/json", body), post("http://"+weir+path, "application/json", body)}
			var blocks added
			var rates [3][]float64
			var ratios []float64
			for b.Loop() {
				blocks.measure(b, sides, size)
				for range 4 {
					for i, f := range sides[1:] {
						rates[i+1] = append(rates[i+1], rate(b, 32, time.Second/2, f))
					}
					ratios = append(ratios, rates[2][len(rates[2])-1]/rates[1][len(rates[1])-1])
				}
			}
			blocks.report(b)
			b.ReportMetric(median(rates[1]), "proxy-requests/s")
			b.ReportMetric(median(rates[2]), "requests/s")
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkHop counts what one request allocates on its way through a hop, its client and the replica included: the
// difference between the two is the router's.
func BenchmarkHop(b *testing.B) {
	direct, proxy, weir := hops(b)
	for _, hop := range []struct{ name, addr string }{{"direct", direct}, {"proxy", proxy}, {"weir", weir}} {
		b.Run(hop.name, func(b *testing.B) {
			f := post("http://"+hop.addr+"/v1/models/digits:predict", "application/json", make([]byte, 1<<10))
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
