package batch

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/functions/model"
)

// fake is a model of one float and one string input a row. It answers twice the float and the string as it is, which
// takes 1 ms of the test's clock and a tenth for each row.
type fake struct {
	mu   sync.Mutex
	runs []model.Request
	// refuse is the float of a row that fails its run.
	refuse float32
	// sum makes a row's answer depend on its mates; short answers one row only.
	sum, short bool
	took       func(rows int) time.Duration
	active     atomic.Int32
	most       atomic.Int32
}

var errRow = errors.New("bad row")

func (f *fake) Close() error { return nil }

func (f *fake) Metadata() model.Metadata {
	spec := func(name string, d model.DType) model.TensorSpec {
		return model.TensorSpec{Name: name, DType: d, Shape: []int64{-1, -1}}
	}
	one := func(name string, in ...model.TensorSpec) model.Signature {
		var out []model.TensorSpec
		for _, s := range in {
			s.Name += "_out"
			out = append(out, s)
		}
		return model.Signature{Name: name, Method: model.MethodPredict, Inputs: in, Outputs: out}
	}
	fixed := one("fixed", spec("x", model.Float32))
	fixed.Outputs[0].Shape = []int64{1}
	return model.Metadata{Name: "fake", Signatures: map[string]model.Signature{
		model.DefaultSignature: one(model.DefaultSignature, spec("x", model.Float32)),
		"both":                 one("both", spec("x", model.Float32), spec("s", model.Bytes)),
		"fixed":                fixed,
	}}
}

func (f *fake) Predict(ctx context.Context, req model.Request) (model.Response, error) {
	f.mu.Lock()
	f.runs = append(f.runs, req)
	f.mu.Unlock()
	f.most.Store(max(f.most.Load(), f.active.Add(1)))
	defer f.active.Add(-1)
	took := func(rows int) time.Duration { return time.Millisecond + time.Duration(rows)*time.Millisecond/10 }
	if f.took != nil {
		took = f.took
	}
	select {
	case <-time.After(took(countRows(req))):
	case <-ctx.Done():
		return model.Response{}, ctx.Err()
	}
	out := map[string]model.Tensor{}
	for name, t := range req.Inputs {
		o := model.Tensor{DType: t.DType, Shape: t.Shape, Strings: t.Strings}
		sum := float32(0)
		for i := 0; i < len(t.Data); i += 4 {
			v := at(t, i/4)
			if f.refuse != 0 && v == f.refuse {
				return model.Response{}, errRow
			}
			sum += v
			if f.sum {
				v = sum
			}
			o.Data = binary.LittleEndian.AppendUint32(o.Data, math.Float32bits(2*v))
		}
		if f.short {
			o = slice(o, 0, 1)
		}
		if len(req.Outputs) == 0 || slices.Contains(req.Outputs, name+"_out") {
			out[name+"_out"] = o
		}
	}
	return model.Response{Outputs: out}, nil
}

// rows returns the rows of the runs so far.
func (f *fake) rows() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n []int
	for _, r := range f.runs {
		n = append(n, countRows(r))
	}
	return n
}

func at(t model.Tensor, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
}

func floats(width int, v ...float32) model.Tensor {
	t := model.Tensor{DType: model.Float32, Shape: []int64{int64(len(v) / width), int64(width)}}
	for _, f := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(f))
	}
	return t
}

func request(v ...float32) model.Request {
	return model.Request{Inputs: map[string]model.Tensor{"x": floats(1, v...)}}
}

// ask predicts v in a goroutine and checks the answer.
func ask(t *testing.T, wg *sync.WaitGroup, b *Batcher, v ...float32) {
	wg.Go(func() {
		resp, err := b.Predict(t.Context(), request(v...))
		if err != nil {
			t.Errorf("%v: %v", v, err)
			return
		}
		out := resp.Outputs["x_out"]
		if out.Shape[0] != int64(len(v)) || out.Check() != nil {
			t.Errorf("%v: answered %v %v", v, out.Shape, out.Check())
			return
		}
		for i := range v {
			if got := at(out, i); got != 2*v[i] {
				t.Errorf("%v: row %d is %v, want %v", v, i, got, 2*v[i])
			}
		}
	})
}

func TestNothingWaitsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 2})
		start := time.Now()
		for i := range 5 {
			if _, err := b.Predict(t.Context(), request(float32(i))); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 5*1100*time.Microsecond {
			t.Errorf("five calls, one after the other, took %v", took)
		}
		if got := f.rows(); !slices.Equal(got, []int{1, 1, 1, 1, 1}) {
			t.Errorf("runs of %v rows", got)
		}
	})
}

func TestBatchesFormWhileTheModelIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 1, Size: 8})
		var wg sync.WaitGroup
		ask(t, &wg, b, 1)
		synctest.Wait()
		for i := range 9 {
			ask(t, &wg, b, float32(i), float32(i)+0.5)
			synctest.Wait()
		}
		wg.Wait()
		if got := f.rows(); !slices.Equal(got, []int{1, 8, 8, 2}) {
			t.Errorf("runs of %v rows", got)
		}
		if f.most.Load() != 1 {
			t.Errorf("%d runs at once", f.most.Load())
		}
	})
}

// TestBatchedIsUnbatched holds random requests of two signatures, several shapes and row counts against what the model
// says to each alone.
func TestBatchedIsUnbatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 2, Size: 16, Queue: 10_000})
		var wg sync.WaitGroup
		for seed := range uint64(400) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, 1))
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) // the test's clock
				req := randomRequest(r)
				want, err := (&fake{}).Predict(t.Context(), req)
				if err != nil {
					t.Error(err)
				}
				got, err := b.Predict(t.Context(), req)
				if err != nil {
					t.Error(err)
				}
				if !alike(got, want) {
					t.Errorf("seed %d: %v, want %v", seed, got, want)
				}
			})
		}
		wg.Wait()
		if n := len(f.rows()); n > 300 {
			t.Errorf("%d runs for 400 requests: nothing was batched", n)
		}
	})
}

func randomRequest(r *rand.Rand) model.Request {
	rows, width := 1+r.IntN(4), 1+r.IntN(3)
	v := make([]float32, rows*width)
	for i := range v {
		v[i] = r.Float32()
	}
	req := model.Request{Inputs: map[string]model.Tensor{"x": floats(width, v...)}}
	if r.IntN(2) == 0 {
		req.Signature = "both"
		s := model.Tensor{DType: model.Bytes, Shape: []int64{int64(rows), 1}}
		for range rows {
			s.Strings = append(s.Strings, []byte(strings.Repeat("x", r.IntN(5))))
		}
		req.Inputs["s"] = s
		if r.IntN(2) == 0 {
			req.Outputs = []string{"s_out"}
		}
	}
	return req
}

func TestOneBadRowFailsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{refuse: 13}
		b := New(f, Options{Always: true, Parallel: 1})
		var wg sync.WaitGroup
		ask(t, &wg, b, 1)
		synctest.Wait()
		for i := range 8 {
			if i == 5 {
				wg.Go(func() {
					if _, err := b.Predict(t.Context(), request(13)); !errors.Is(err, errRow) {
						t.Errorf("the bad row: %v", err)
					}
				})
			} else {
				ask(t, &wg, b, float32(i))
			}
			synctest.Wait()
		}
		wg.Wait()
		if got := f.rows(); !slices.Equal(got, []int{1, 8, 4, 4, 2, 1, 1, 2}) {
			t.Errorf("runs of %v rows", got)
		}
	})
}

func TestWhoLeavesIsNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 1})
		var wg sync.WaitGroup
		ask(t, &wg, b, 1)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := b.Predict(ctx, request(2)); !errors.Is(err, context.Canceled) {
				t.Errorf("left, and got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(b.turns) != 0 || b.waiting != 0 {
			t.Errorf("%d groups and %d rows wait after the only one left", len(b.turns), b.waiting)
		}
		ask(t, &wg, b, 3)
		ask(t, &wg, b, 4)
		wg.Wait()
		if got := f.rows(); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("runs of %v rows", got)
		}
	})
}

func TestWhoLeavesARunDoesNotEndIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.Predict(ctx, request(1)); !errors.Is(err, context.Canceled) {
				t.Errorf("left, and got %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		// The run that nobody wants still has the only place.
		ask(t, &wg, b, 2)
		synctest.Wait()
		if n := f.active.Load(); n != 1 {
			t.Errorf("%d runs at once", n)
		}
		wg.Wait()
	})
}

func TestGroupsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 1, Size: 4, Queue: 1000})
		var wg sync.WaitGroup
		for i := range 40 {
			ask(t, &wg, b, float32(i))
		}
		synctest.Wait()
		start := time.Now()
		wide := model.Request{Inputs: map[string]model.Tensor{"x": floats(2, 1, 2)}}
		if _, err := b.Predict(t.Context(), wide); err != nil {
			t.Fatal(err)
		}
		// The run that goes on, one of the other group, and its own.
		if took := time.Since(start); took > 4*time.Millisecond {
			t.Errorf("a request of another shape waited %v behind 40 of one", took)
		}
		wg.Wait()
	})
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(&fake{}, Options{Always: true, Parallel: 1, Queue: 3})
		var wg sync.WaitGroup
		for i := range 4 {
			ask(t, &wg, b, float32(i))
			synctest.Wait()
		}
		if _, err := b.Predict(t.Context(), request(9)); model.CodeOf(err) != model.ResourceExhausted {
			t.Errorf("over the bound: %v", err)
		}
		wg.Wait()
		ask(t, &wg, b, 9)
		wg.Wait()
	})
}

func TestRunsKeepTheTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{took: func(rows int) time.Duration { return time.Duration(rows) * time.Millisecond }}
		b := New(f, Options{Always: true, Parallel: 1, Size: 32, Target: 10 * time.Millisecond, Queue: 10_000})
		var wg sync.WaitGroup
		for i := range 2000 {
			ask(t, &wg, b, float32(i%7))
		}
		wg.Wait()
		late := f.rows()[100:]
		for _, n := range late[:len(late)-1] {
			if n < 8 || n > 11 {
				t.Fatalf("runs of %v rows: 10 take the target of 10 ms", late)
			}
		}
	})
}

func TestAnswersWithoutRowsEndBatching(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{short: true}
		b := New(f, Options{Always: true, Parallel: 1})
		var wg sync.WaitGroup
		for i := range 5 {
			ask(t, &wg, b, float32(i))
		}
		wg.Wait()
		for _, d := range b.Decisions() {
			if d.Signature == model.DefaultSignature && (d.On || !strings.Contains(d.Reason, "x_out")) {
				t.Errorf("%+v", d)
			}
		}
	})
}

func sample(sig model.Signature, n int) (map[string]model.Tensor, bool) {
	return map[string]model.Tensor{"x": floats(1, float32(n)+0.5)}, len(sig.Inputs) == 1
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	linear := func(rows int) time.Duration { return time.Duration(rows) * 5 * time.Millisecond }
	for _, test := range []struct {
		name   string
		model  *fake
		on     bool
		reason string
	}{
		{"gains", &fake{}, true, "times as fast"},
		{"gains nothing", &fake{took: linear}, false, "4 rows together are 1.0 times as fast"},
		{"answers change", &fake{sum: true}, false, "changes with its mates"},
		{"no rows", &fake{short: true}, false, "for 32 rows"},
		{"fails", &fake{refuse: 0.5}, false, "bad row"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := New(test.model, Options{})
				decisions := map[string]Decision{}
				for _, d := range b.Measure(t.Context(), sample) {
					decisions[d.Signature] = d
				}
				d := decisions[model.DefaultSignature]
				if d.On != test.on || !strings.Contains(d.Reason, test.reason) || (d.Size > 0) != test.on {
					t.Errorf("%+v, want on %v because %q", d, test.on, test.reason)
				}
				if d := decisions["fixed"]; d.On || !strings.Contains(d.Reason, "cannot be put together") {
					t.Errorf("%+v", d)
				}
				if d := decisions["both"]; d.On || !strings.Contains(d.Reason, "made up") {
					t.Errorf("%+v", d)
				}
			})
		})
	}
}

func TestUnmeasuredIsNotBatched(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Parallel: 1})
		var wg sync.WaitGroup
		for i := range 4 {
			ask(t, &wg, b, float32(i))
		}
		wg.Wait()
		if got := f.rows(); !slices.Equal(got, []int{1, 1, 1, 1}) || f.most.Load() != 4 {
			t.Errorf("runs of %v rows, %d at once", got, f.most.Load())
		}
	})
}

// BenchmarkPredict is what a Batcher adds to a call.
func BenchmarkPredict(b *testing.B) {
	f := &instant{}
	batcher := New(f, Options{Always: true})
	req := request(1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := batcher.Predict(b.Context(), req); err != nil {
				b.Error(err)
			}
		}
	})
}

// instant answers at once.
type instant struct{ fake }

func (*instant) Predict(_ context.Context, req model.Request) (model.Response, error) {
	return model.Response{Outputs: map[string]model.Tensor{"x_out": req.Inputs["x"]}}, nil
}
