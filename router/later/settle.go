package later

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// settle brings one event to its end, as far as ctx allows: a retry is not waited for after ctx has ended, what runs then
// goes on until work ends. The record in the file says where to go on.
func (q *Queue) settle(ctx, work context.Context, k uint64) {
	r, err := q.journal.get(k)
	for err == nil && ctx.Err() == nil {
		var done bool
		if done, err = q.step(ctx, work, k, &r); done {
			return
		}
	}
	if err != nil && ctx.Err() == nil {
		q.options.Log.Error().Err(err).Uint64("event", k).Msg("an event to answer later stays in the file: it goes on with the next start")
	}
}

// step takes an event one state on: predict, deliver, dead letter.
func (q *Queue) step(ctx, work context.Context, k uint64, r *record) (done bool, err error) {
	switch {
	case r.Failed != nil:
		return true, q.bury(ctx, work, k, r)
	case !r.Answered:
		err = q.try(ctx, q.predicting, q.options.Retries, func() error {
			answer, err := q.predict(work, Request{Header: r.Header, Body: r.body, Sink: r.Sink})
			if err == nil {
				r.Header, r.body, r.Answered = answer.Header, answer.Body, true
			}
			q.metrics.attempt(toModel, err)
			return err
		})
	default:
		err = q.try(ctx, q.delivering, q.options.Retries, func() error {
			err := q.send(work, r.Sink, *r)
			q.metrics.attempt(toSink, err)
			return err
		})
		if err == nil {
			q.settled(outcomeDelivered, r)
			return true, q.journal.delete(k)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return true, nil //nolint:nilerr // it is tried anew after the next start
		}
		r.Failed = failure(r, err)
		if q.options.DeadLetter == "" {
			q.options.Log.Error().Err(err).Str("sink", r.Sink).Bool("answered", r.Answered).Msg("an event is dropped after its last retry: there is no dead letter")
			q.settled(outcomeDropped, r)
			return true, q.journal.delete(k)
		}
	}
	return false, q.journal.put(k, *r)
}

// bury brings an event to the dead letter, however long that takes.
func (q *Queue) bury(ctx, work context.Context, k uint64, r *record) error {
	err := q.try(ctx, q.delivering, math.MaxInt32, func() error {
		err := q.send(work, q.options.DeadLetter, *r)
		q.metrics.attempt(toDeadLetter, err)
		if err != nil {
			q.options.Log.Error().Err(err).Msg("the dead letter takes no event: it is tried again")
		}
		// Here nothing is for good: the event would be lost.
		if p, ok := errors.AsType[*backoff.PermanentError](err); ok {
			return p.Unwrap()
		}
		return err
	})
	if err != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	q.settled(outcomeDead, r)
	return q.journal.delete(k)
}

func (q *Queue) settled(outcome string, r *record) {
	q.metrics.events.WithLabelValues(outcome).Inc()
	q.metrics.seconds.WithLabelValues(outcome).Observe(time.Since(r.Accepted).Seconds())
}

// try calls once and, with back-off, again; a token of places is held while once runs.
func (q *Queue) try(ctx context.Context, places chan struct{}, retries int, once func() error) error {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: q.options.BackOff, RandomizationFactor: .1, Multiplier: 2, MaxInterval: q.options.MaxBackOff,
	}
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return struct{}{}, backoff.Permanent(ctx.Err())
		}
		defer func() { <-places }()
		return struct{}{}, once()
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(uint(retries)+1), backoff.WithMaxElapsedTime(0))
	return err
}

// failure is what a dead letter is told of err.
func failure(r *record, err error) *DeliveryError {
	if p, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = p.Unwrap()
	}
	if f, ok := errors.AsType[*DeliveryError](err); ok {
		return f
	}
	return &DeliveryError{Dest: r.Sink, Data: []byte(err.Error())}
}
