package batch

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"weir.dev/weir/functions/model"
)

// Defaults of Options.
const (
	DefaultSize   = 32
	DefaultTarget = 25 * time.Millisecond
	// queuePerRow times Size rows may wait, as many as a revision's queue in front of its replicas takes.
	queuePerRow = 10
)

// Options of a Batcher. The zero value works.
type Options struct {
	// Size is how many rows a run has at most. If zero, DefaultSize.
	Size int
	// Always batches every signature whose rows can be put together. Without it a signature is not batched before
	// Measure has found that it gains.
	Always bool
	// Target is how long a run may take: runs get smaller until they keep it. A request waits for at most the runs
	// before it and its own. If zero, DefaultTarget.
	Target time.Duration
	// Parallel is how many runs go side by side. If zero, as many as there are processors.
	Parallel int
	// Queue is how many rows may wait; a request over it is refused. If zero, 10 x Size.
	Queue int
	// Observe is told the rows of every run. If nil, nobody is.
	Observe func(signature string, rows int)
}

func (o Options) withDefaults() Options {
	if o.Size <= 0 {
		o.Size = DefaultSize
	}
	if o.Target <= 0 {
		o.Target = DefaultTarget
	}
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if o.Queue <= 0 {
		o.Queue = queuePerRow * o.Size
	}
	return o
}

// Batcher is a Model that runs requests of one signature and shape together. It is safe for concurrent use.
type Batcher struct {
	inner model.Model
	meta  model.Metadata
	o     Options
	// decisions are by signature; the map is replaced as a whole.
	decisions atomic.Pointer[map[string]Decision]
	runs      sync.WaitGroup
	// present has a share for each run of the model, and all of them for one that is measured, while measuring says so.
	present   *semaphore.Weighted
	measuring atomic.Bool

	mu      sync.Mutex
	running int // runs that go on, at most o.Parallel
	waiting int // rows in all queues
	groups  map[string]*group
	turns   []*group // groups in which calls wait, the one whose turn is next first
}

// New puts a Batcher in front of a model. Close closes the model, too.
func New(m model.Model, o Options) *Batcher {
	b := &Batcher{inner: m, meta: m.Metadata(), o: o.withDefaults(), groups: map[string]*group{}, present: semaphore.NewWeighted(everyone)}
	decisions := map[string]Decision{}
	for name, sig := range b.meta.Signatures {
		d := Decision{Signature: name, Reason: "not measured yet"}
		switch {
		case !batchable(sig):
			d.Reason = "its rows cannot be put together"
		case o.Always:
			d.On, d.Size, d.Reason = true, b.o.Size, "as set"
		}
		decisions[name] = d
	}
	b.decisions.Store(&decisions)
	return b
}

// batchable reports whether every input and output of a signature has a row for each instance.
func batchable(sig model.Signature) bool {
	batched := func(specs []model.TensorSpec) bool {
		return len(specs) > 0 && !slices.ContainsFunc(specs, func(s model.TensorSpec) bool { return !s.Batched() })
	}
	return batched(sig.Inputs) && batched(sig.Outputs)
}

// Metadata is the model's.
func (b *Batcher) Metadata() model.Metadata { return b.meta }

// Close waits for runs and closes the model.
func (b *Batcher) Close() error {
	b.runs.Wait()
	return b.inner.Close()
}

// Predict answers a request, alone or together with others. When ctx ends it returns; what waits leaves its queue.
func (b *Batcher) Predict(ctx context.Context, req model.Request) (model.Response, error) {
	sig, err := b.meta.Resolve(req)
	if err != nil {
		return model.Response{}, err
	}
	rows := countRows(req)
	if !(*b.decisions.Load())[sig.Name].On || rows < 1 || rows >= b.o.Size {
		_, resp, err := b.timed(ctx, req, b.share())
		return resp, err
	}
	req.Signature = sig.Name
	c := &call{ctx: ctx, req: req, rows: rows, done: make(chan result, 1)}
	if err := b.enter(c); err != nil {
		return model.Response{}, err
	}
	select {
	case r := <-c.done:
		return r.resp, r.err
	case <-ctx.Done():
		b.leave(c)
		return model.Response{}, ctx.Err()
	}
}

// share is how much of the model's presence a request's run needs.
func (b *Batcher) share() int64 {
	if b.measuring.Load() {
		return 1
	}
	return 0
}

// timed runs the model once it has this share of its presence, and says how long the run took: a wait for the share is no part of that.
func (b *Batcher) timed(ctx context.Context, req model.Request, share int64) (time.Duration, model.Response, error) {
	if share > 0 {
		if err := b.present.Acquire(ctx, share); err != nil {
			return 0, model.Response{}, err
		}
		defer b.present.Release(share)
	}
	start := time.Now()
	resp, err := b.inner.Predict(ctx, req)
	return time.Since(start), resp, err
}

// run answers calls of one group with one run, or with several smaller ones if that fails.
func (b *Batcher) run(g *group, calls []*call) {
	if len(calls) == 1 {
		c := calls[0]
		// A run cannot be broken off, so it is not asked to: it has a place until it ends.
		took, resp, err := b.timed(context.WithoutCancel(c.ctx), c.req, b.share())
		b.ran(g, c.rows, took)
		c.done <- result{resp, err}
		return
	}
	rows := 0
	for _, c := range calls {
		rows += c.rows
	}
	took, resp, err := b.timed(context.Background(), join(calls, rows), b.share())
	b.ran(g, rows, took)
	if err != nil {
		// One of them may be to blame: each half tries by itself.
		b.halves(g, calls)
		return
	}
	parts, err := split(resp, calls, rows)
	if err != nil {
		b.giveUp(g.signature, err)
		for _, c := range calls {
			b.run(g, []*call{c})
		}
		return
	}
	for i, c := range calls {
		c.done <- result{resp: parts[i]}
	}
}

func (b *Batcher) halves(g *group, calls []*call) {
	middle := len(calls) / 2
	for _, half := range [][]*call{calls[:middle], calls[middle:]} {
		half = slices.DeleteFunc(slices.Clone(half), (*call).gone)
		if len(half) > 0 {
			b.run(g, half)
		}
	}
}

// ran learns from a run.
func (b *Batcher) ran(g *group, rows int, took time.Duration) {
	b.mu.Lock()
	g.limit.learn(rows, took, b.o.Target)
	b.mu.Unlock()
	if b.o.Observe != nil {
		b.o.Observe(g.signature, rows)
	}
}

// giveUp stops batching a signature whose answers have no row for each instance, whatever its metadata says.
func (b *Batcher) giveUp(signature string, why error) {
	b.decide(Decision{Signature: signature, Reason: why.Error()})
}
