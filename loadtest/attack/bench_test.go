package attack

import (
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/loadtest/scenario"
)

// BenchmarkOpenLoop sends 2,000 requests a second to a server that answers at once, and reports by how much the rate is
// missed and how late requests are sent. The server has a share of the same processors.
func BenchmarkOpenLoop(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	const rate, length = 2000, 5 * time.Second
	for b.Loop() {
		g, got := generator(b, scenario.Load{Name: "m", Stages: []scenario.Stage{open(rate, length)}}, srv.URL)
		g.Run(b.Context())
		var late []float64
		first, last := got.all[0].Sent, got.all[0].Sent
		for _, s := range got.all {
			if !s.OK() {
				b.Fatalf("%+v", s)
			}
			late = append(late, float64(s.Sent.Sub(s.Due).Microseconds()))
			if s.Sent.Before(first) {
				first = s.Sent
			}
			if s.Sent.After(last) {
				last = s.Sent
			}
		}
		achieved := float64(len(got.all)-1) / last.Sub(first).Seconds()
		slices.Sort(late)
		b.ReportMetric(achieved, "requests/s")
		b.ReportMetric(100*math.Abs(achieved-rate)/rate, "%-off")
		b.ReportMetric(late[len(late)*99/100], "µs-late-p99")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLatency measures a server that answers after 50 ms, and every 50th time after 200 ms, in both kinds of loop,
// and reports by how much p50 and p99 are off: from what the server itself has measured, and from what it was told to keep.
func BenchmarkLatency(b *testing.B) {
	const usual, slow = 50 * time.Millisecond, 200 * time.Millisecond
	var n atomic.Int64
	var mu sync.Mutex
	var kept []float64 // the delays as the server measured them
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began := time.Now()
		wait := usual
		if n.Add(1)%50 == 0 {
			wait = slow
		}
		a := newAlarm()
		defer a.close()
		time.Sleep(wait - near)
		a.wait(began.Add(wait))
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, millis(time.Since(began)))
	}))
	defer srv.Close()
	for _, stage := range []scenario.Stage{open(200, 5*time.Second), closed(10, 5*time.Second, 0)} {
		b.Run(stage.Name, func(b *testing.B) {
			for b.Loop() {
				kept = nil
				g, got := generator(b, scenario.Load{Name: "m", Stages: []scenario.Stage{stage}}, srv.URL)
				g.Run(b.Context())
				var ms []float64
				for _, s := range got.all {
					ms = append(ms, millis(s.Latency+s.Sent.Sub(s.Due)))
				}
				slices.Sort(ms)
				slices.Sort(kept)
				for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
					want := millis(usual)
					if q > 0.98 {
						want = millis(slow)
					}
					x, server := ms[int(q*float64(len(ms)))], kept[int(q*float64(len(kept)))]
					b.ReportMetric(100*math.Abs(x-server)/server, "%-off-"+name)
					b.ReportMetric(100*math.Abs(x-want)/want, "%-off-told-"+name)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
