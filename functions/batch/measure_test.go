package batch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/functions/model"
)

func sample(sig model.Signature, n int) (map[string]model.Tensor, bool) {
	return map[string]model.Tensor{"x": floats(1, float32(n)+0.5)}, len(sig.Inputs) == 1
}

// busyFrom is what runs take on a machine that others use from the run n on.
func busyFrom(n int) func(rows int) time.Duration {
	var runs atomic.Int64
	return func(rows int) time.Duration {
		took := 200*time.Microsecond + time.Duration(rows)*10*time.Microsecond
		if runs.Add(1) > int64(n) {
			took += 25 * time.Millisecond
		}
		return took
	}
}

// slowAtFirst is what runs of a model take that gains nothing from rows together, on a machine where the first ones take longer.
func slowAtFirst() func(rows int) time.Duration {
	var runs atomic.Int64
	return func(rows int) time.Duration {
		took := time.Duration(rows) * 10 * time.Millisecond
		if runs.Add(1) <= 5 {
			took = took * 14 / 10
		}
		return took
	}
}

// luckyOnce is what they take where nothing comes between once, while rows are together.
func luckyOnce() func(rows int) time.Duration {
	var together atomic.Int64
	return func(rows int) time.Duration {
		took := time.Duration(rows) * 10 * time.Millisecond
		if rows > 1 && together.Add(1) <= 2 {
			took /= 2
		}
		return took
	}
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
		{"gains while requests come that slow everything down", &fake{took: busyFrom(tries + 1)}, true, "times as fast"},
		{"gains nothing, and is slow at first", &fake{took: slowAtFirst()}, false, "4 rows together are 1.0 times as fast"},
		{"gains nothing, but once", &fake{took: luckyOnce()}, false, "4 rows together are 1.0 times as fast"},
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

// TestMeasureBesideRequests measures a model that gains nothing while it has more to do than it can: a row alone waits for the
// others' turns as often as rows together do.
func TestMeasureBesideRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		place := make(chan struct{}, 1)
		b := New(&fake{took: func(rows int) time.Duration {
			place <- struct{}{}
			defer func() { <-place }()
			time.Sleep(time.Duration(rows) * 10 * time.Millisecond)
			return 0
		}}, Options{})
		ctx, stop := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		var answers atomic.Int64
		for range 8 {
			callers.Go(func() {
				for ctx.Err() == nil {
					inputs, _ := sample(b.meta.Signatures[model.DefaultSignature], 0)
					if _, err := b.Predict(t.Context(), model.Request{Inputs: inputs}); err != nil {
						t.Error(err)
					}
					answers.Add(1)
				}
			})
		}
		time.Sleep(time.Second)
		before := answers.Load()
		b.Measure(t.Context(), sample)
		during := answers.Load() - before
		stop()
		callers.Wait()
		if d := (*b.decisions.Load())[model.DefaultSignature]; d.On || d.Reason != "4 rows together are 1.0 times as fast" {
			t.Errorf("%+v", d)
		}
		if during < 8 {
			t.Errorf("%d answers while it was measured", during)
		}
	})
}

// TestAWaitIsNoPartOfARun has a request wait for a run that is measured: batches do not get smaller for it.
func TestAWaitIsNoPartOfARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		b := New(f, Options{Always: true, Parallel: 1})
		b.measuring.Store(true)
		if err := b.present.Acquire(t.Context(), everyone); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		ask(t, &wg, b, 1)
		time.Sleep(time.Second)
		b.present.Release(everyone)
		wg.Wait()
		for range 31 {
			ask(t, &wg, b, 1)
		}
		wg.Wait()
		if got := f.rows(); !slices.Equal(got, []int{1, 1, 30}) {
			t.Errorf("runs of %v rows, want 30 together at last", got)
		}
	})
}
