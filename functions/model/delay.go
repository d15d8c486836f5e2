package model

import (
	"context"
	"time"
)

// delayed is a Model that waits.
type delayed struct {
	Model
	wait time.Duration
}

// WithDelay makes every prediction of a model take longer without work, as one that waits for something else does. It is
// for load tests: scaling out shows on few cores.
func WithDelay(m Model, wait time.Duration) Model { return &delayed{Model: m, wait: wait} }

// Predict waits, then predicts. A context that ends meanwhile ends the wait.
func (d *delayed) Predict(ctx context.Context, req Request) (Response, error) {
	timer := time.NewTimer(d.wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return d.Model.Predict(ctx, req)
	case <-ctx.Done():
		return Response{}, ctx.Err()
	}
}
