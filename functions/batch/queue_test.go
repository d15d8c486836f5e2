package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/functions/model"
)

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
