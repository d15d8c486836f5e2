package loadtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// added is what a proxy and the router add to a request of one caller, a short block of requests each by turns: the machine is
// not the same from one second to the next. It has a value of each block, so that one that something else disturbed says little.
type added struct {
	proxy, weir [2][]float64 // in ms, by quantile
}

var quantiles = [2]float64{.5, .99}

// measure measures blocks. The sides are the replica, the proxy and the router.
func (a *added) measure(b *testing.B, sides []func() error, size int) {
	b.Helper()
	requests := 1000
	if size > 64<<10 {
		requests = 200
	}
	var took [3][]time.Duration
	for round := range 20 {
		for turn := range sides {
			i := turn
			if round%2 == 1 { // nobody is always the one after the same other
				i = len(sides) - 1 - turn
			}
			took[i] = times(b, requests, sides[i])
			slices.Sort(took[i])
		}
		for q, p := range quantiles {
			more := func(side int) float64 {
				at := int(p * float64(requests))
				return float64(took[side][at]-took[0][at]) / float64(time.Millisecond)
			}
			a.proxy[q], a.weir[q] = append(a.proxy[q], more(1)), append(a.weir[q], more(2))
		}
	}
}

// report reports the medians of the blocks, and the ratio of the router's to the proxy's with how far off it may be.
func (a *added) report(b *testing.B) {
	for q, p := range quantiles {
		name := fmt.Sprintf("p%g", 100*p)
		b.ReportMetric(median(a.proxy[q]), "proxy-added-"+name+"-ms")
		b.ReportMetric(median(a.weir[q]), "added-"+name+"-ms")
		b.ReportMetric(median(a.weir[q])/median(a.proxy[q]), name+"-ratio")
		b.ReportMetric(a.doubt(q), name+"-ratio-±")
	}
}

// doubt is half of the interval that the ratio is in with 95 %, by the bootstrap: from rounds drawn again and again.
func (a *added) doubt(q int) float64 {
	n := len(a.weir[q])
	ratios := make([]float64, 1000)
	proxy, weir := make([]float64, n), make([]float64, n)
	for i := range ratios {
		for j := range n {
			k := rand.IntN(n)
			proxy[j], weir[j] = a.proxy[q][k], a.weir[q][k]
		}
		ratios[i] = median(weir) / median(proxy)
	}
	slices.Sort(ratios)
	return (ratios[len(ratios)*975/1000] - ratios[len(ratios)*25/1000]) / 2
}

// times calls f n times, one after the other.
func times(b *testing.B, n int, f func() error) []time.Duration {
	b.Helper()
	all := make([]time.Duration, n)
	for i := range all {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		all[i] = time.Since(start)
	}
	return all
}
