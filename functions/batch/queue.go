package batch

import (
	"context"
	"slices"
	"strconv"
	"time"

	"weir.dev/weir/functions/model"
)

// call is a request that waits or runs.
type call struct {
	ctx  context.Context
	req  model.Request
	rows int
	done chan result // holds one result, so that nobody waits for a caller that has gone
	in   *group      // whose queue it is in; nil otherwise
}

type result struct {
	resp model.Response
	err  error
}

// gone reports whether nobody wants the answer any more.
func (c *call) gone() bool { return c.ctx.Err() != nil }

// group is the calls that can run together: of one signature, of the same shapes but for the rows, wanting the same
// outputs.
type group struct {
	signature string
	queue     []*call
	limit     limit
}

// maxGroups bounds the groups that are remembered without a call: shapes are the caller's choice.
const maxGroups = 64

// key names a call's group.
func key(dst []byte, req model.Request, sig model.Signature) []byte {
	dst = append(dst, req.Signature...)
	for _, in := range sig.Inputs {
		dst = append(dst, '|')
		for _, d := range req.Inputs[in.Name].Shape[1:] {
			dst = strconv.AppendInt(append(dst, ','), d, 10)
		}
	}
	for _, out := range req.Outputs {
		dst = strconv.AppendQuote(dst, out)
	}
	return dst
}

// enter runs a call if there is a place for it, and queues it otherwise.
func (b *Batcher) enter(c *call) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.groupOf(c)
	if b.running < b.o.Parallel {
		// Nobody waits while there is a place.
		b.running++
		b.runs.Go(func() { b.work(g, []*call{c}) })
		return nil
	}
	if b.waiting+c.rows > b.o.Queue {
		return model.Errorf(model.ResourceExhausted, "%d instances wait already: try again later", b.waiting)
	}
	if len(g.queue) == 0 {
		b.turns = append(b.turns, g)
	}
	c.in = g
	g.queue = append(g.queue, c)
	b.waiting += c.rows
	return nil
}

func (b *Batcher) groupOf(c *call) *group {
	var space [256]byte
	k := key(space[:0], c.req, b.meta.Signatures[c.req.Signature])
	if g := b.groups[string(k)]; g != nil {
		return g
	}
	if len(b.groups) >= maxGroups {
		for k, g := range b.groups {
			if len(g.queue) == 0 {
				delete(b.groups, k)
			}
		}
	}
	g := &group{signature: c.req.Signature, limit: limit{rows: float64(b.o.Size), most: b.o.Size}}
	b.groups[string(k)] = g
	return g
}

// leave takes a call out of its queue.
func (b *Batcher) leave(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := c.in
	if g == nil {
		return
	}
	i := slices.Index(g.queue, c)
	g.queue = slices.Delete(g.queue, i, i+1)
	b.took(c)
	if len(g.queue) == 0 {
		i := slices.Index(b.turns, g)
		b.turns = slices.Delete(b.turns, i, i+1)
	}
}

// took notes that a call left its queue.
func (b *Batcher) took(c *call) {
	c.in = nil
	b.waiting -= c.rows
}

// work runs calls, and then those that wait, until none does.
func (b *Batcher) work(g *group, calls []*call) {
	for len(calls) > 0 {
		b.run(g, calls)
		g, calls = b.next()
	}
}

// next takes the calls of the next run: groups take turns, and in one the oldest calls come first. Without any it gives
// the place back.
func (b *Batcher) next() (*group, []*call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) == 0 {
		b.running--
		return nil, nil
	}
	g := b.turns[0]
	b.turns = slices.Delete(b.turns, 0, 1)
	n, rows := 0, 0
	for n < len(g.queue) && (n == 0 || rows+g.queue[n].rows <= g.limit.whole()) {
		rows += g.queue[n].rows
		n++
	}
	calls := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	for _, c := range calls {
		b.took(c)
	}
	if len(g.queue) > 0 {
		b.turns = append(b.turns, g)
	}
	return g, calls
}

// limit is how many rows a run of a group may have so that it keeps its target: one more after each full run that did,
// a tenth less after one that did not (Crankshaw et al., Clipper, NSDI 2017, section 4.3.1).
type limit struct {
	rows float64
	most int
}

// whole is the limit in whole rows, at least one.
func (l *limit) whole() int { return max(1, int(l.rows)) }

func (l *limit) learn(rows int, took, target time.Duration) {
	switch {
	case took > target:
		l.rows = max(1, 0.9*min(l.rows, float64(rows)))
	case rows >= l.whole():
		l.rows = min(l.rows+1, float64(l.most))
	}
}
