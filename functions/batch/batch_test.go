package batch

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/functions/model"
)

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
