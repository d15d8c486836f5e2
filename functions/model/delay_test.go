package model_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/functions/model"
)

type counting struct {
	model.Model
	calls int
}

func (c *counting) Predict(context.Context, model.Request) (model.Response, error) {
	c.calls++
	return model.Response{}, nil
}

func TestWithDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := &counting{}
		m := model.WithDelay(inner, 100*time.Millisecond)
		start := time.Now()
		if _, err := m.Predict(t.Context(), model.Request{}); err != nil || time.Since(start) != 100*time.Millisecond || inner.calls != 1 {
			t.Errorf("after %v: %v, %d calls; want one call after 100 ms", time.Since(start), err, inner.calls)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := m.Predict(ctx, model.Request{}); !errors.Is(err, context.DeadlineExceeded) || inner.calls != 1 {
			t.Errorf("a caller that leaves: %v, %d calls; want its context's error and no second call", err, inner.calls)
		}
	})
}
