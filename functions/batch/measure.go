package batch

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/report"
)

// Decision says whether a signature is batched.
type Decision = report.Batching

// What a measurement costs and what it takes to convince.
const (
	// worthwhile is by how much rows must be faster together. Less is lost to those that wait for one another.
	worthwhile = 1.3
	// tries at one size, of which the fastest counts, as long as they take less than patience together.
	tries    = 5
	patience = 30 * time.Millisecond
	// slow is a run after which few rows are tried: many would take as long as many requests.
	slow    = 2 * time.Millisecond
	fewRows = 4
	// steady is by how much a row may take longer after the rows together than before them, or less: requests that come or
	// leave meanwhile would decide. The comparison is then made again, a few times at most.
	steady  = 1.5
	repeats = 4
	// agreeing is how many steady comparisons it takes to put rows together: of a slow model each is of few runs.
	agreeing = 2
	// brief is a run that requests are kept waiting for, one at a time, so that they do not count: beside them a run mostly waits
	// for its turn, and rows together wait once.
	brief = 250 * time.Millisecond
	// everyone is more than any number of runs.
	everyone = math.MaxInt64
	// tolerance is the difference between an answer alone and in a batch that is none (relative, or absolute below 1).
	tolerance = 1e-4
)

// Measure decides which signatures are put together: those whose rows are faster that way and whose answers do not
// change. makeRow returns one row of a signature's inputs, different ones for different n; false if it cannot. It may
// run beside requests, which are not put together before, and wait for a brief run to end.
func (b *Batcher) Measure(ctx context.Context, makeRow func(sig model.Signature, n int) (map[string]model.Tensor, bool)) []Decision {
	b.measuring.Store(true)
	defer b.measuring.Store(false)
	for _, name := range slices.Sorted(maps.Keys(b.meta.Signatures)) {
		sig := b.meta.Signatures[name]
		if !b.o.Always && batchable(sig) {
			b.decide(b.measure(ctx, sig, makeRow))
		}
	}
	return b.Decisions()
}

// Decisions returns what was decided, sorted by signature.
func (b *Batcher) Decisions() []Decision {
	return slices.SortedFunc(maps.Values(*b.decisions.Load()), func(x, y Decision) int {
		if x.Signature < y.Signature {
			return -1
		}
		return 1
	})
}

func (b *Batcher) decide(d Decision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := maps.Clone(*b.decisions.Load())
	all[d.Signature] = d
	b.decisions.Store(&all)
}

func (b *Batcher) measure(ctx context.Context, sig model.Signature, makeRow func(model.Signature, int) (map[string]model.Tensor, bool)) Decision {
	d := Decision{Signature: sig.Name}
	row := func(n int) *call {
		inputs, ok := makeRow(sig, n)
		if !ok {
			return nil
		}
		return &call{req: model.Request{Signature: sig.Name, Inputs: inputs}, rows: 1}
	}
	calls := []*call{row(0)}
	if calls[0] == nil {
		d.Reason = "no input could be made up to measure it"
		return d
	}
	took, _, err := b.timed(ctx, calls[0].req, 0) // sets the model up, too
	if err != nil {
		return failed(d, err)
	}
	share := int64(0)
	if took < brief {
		share = everyone
	}
	if took, _, err = b.fastest(ctx, calls[0].req, share); err != nil {
		return failed(d, err)
	}
	many := b.o.Size
	if took > slow {
		many = min(many, fewRows)
	}
	if many < 2 {
		d.Reason = "its size is 1"
		return d
	}
	for n := 1; n < many; n++ {
		calls = append(calls, row(n))
	}
	return b.compare(ctx, d, calls, took, share)
}

// compare decides by calls together and alone, in runs that have this share of the model; before is how long one alone took.
func (b *Batcher) compare(ctx context.Context, d Decision, calls []*call, before time.Duration, share int64) Decision {
	last := len(calls) - 1
	var together, alone model.Response
	gain := 0.0
	for n, agreed := 0, 0; n < repeats && agreed < agreeing; n++ {
		all, resp, err := b.fastest(ctx, join(calls, len(calls)), share)
		if err != nil {
			return failed(d, err)
		}
		after, one, err := b.fastest(ctx, calls[last].req, share)
		if err != nil {
			return failed(d, err)
		}
		together, alone = resp, one
		// The first of all runs are slow, whatever comes after them.
		row, ofMany := min(before, after).Seconds(), all.Seconds()/float64(len(calls))
		if agreed == 0 || row/ofMany < gain {
			d.Alone, d.Together, gain = row, ofMany, row/ofMany
		}
		change := float64(after) / float64(before)
		before = after
		if change > steady || change < 1/steady {
			continue
		}
		if agreed++; gain < worthwhile {
			break
		}
	}
	parts, err := split(together, calls, len(calls))
	if err != nil {
		d.Reason = err.Error()
		return d
	}
	d.Reason = fmt.Sprintf("%d rows together are %.1f times as fast", len(calls), gain)
	switch {
	case !alike(parts[last], alone):
		d.Reason = "an answer changes with its mates in a batch"
	case gain >= worthwhile:
		d.On, d.Size = true, b.o.Size
	}
	return d
}

func failed(d Decision, err error) Decision {
	d.Reason = "its measurement failed: " + err.Error()
	return d
}

// fastest returns the shortest time of a few runs, after one that sets the model up for the shape.
func (b *Batcher) fastest(ctx context.Context, req model.Request, share int64) (time.Duration, model.Response, error) {
	_, resp, err := b.timed(ctx, req, share)
	best, spent := time.Duration(math.MaxInt64), time.Duration(0)
	for n := 0; err == nil && n < tries && (n == 0 || spent < patience); n++ {
		var took time.Duration
		took, _, err = b.timed(ctx, req, share)
		spent += took
		best = min(best, took)
	}
	return best, resp, err
}

// alike reports whether two answers are the same but for rounding.
func alike(a, b model.Response) bool {
	return maps.EqualFunc(a.Outputs, b.Outputs, func(x, y model.Tensor) bool {
		if x.DType != model.Float32 {
			return x.Equal(y)
		}
		if !slices.Equal(x.Shape, y.Shape) || len(x.Data) != len(y.Data) {
			return false
		}
		for i := 0; i+4 <= len(x.Data); i += 4 {
			f := float64(math.Float32frombits(binary.LittleEndian.Uint32(x.Data[i:])))
			g := float64(math.Float32frombits(binary.LittleEndian.Uint32(y.Data[i:])))
			if math.Abs(f-g) > tolerance*max(1, math.Abs(f)) {
				return false
			}
		}
		return true
	})
}
