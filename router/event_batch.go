package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
)

const (
	// maxBatch bounds the events of a batch, batchAtOnce those that are with models at a time.
	maxBatch    = 1000
	batchAtOnce = 16
)

// serveBatch sends each event of a batch to the model that it means and answers a batch of as many events, in the same
// order: the models' answers, and an error for each event that got none.
func (rt *Router) serveBatch(w http.ResponseWriter, r *http.Request) error {
	events, err := splitBatch(r)
	if err != nil {
		return err
	}
	if later, err := rt.batchLater(w, r, events); later || err != nil {
		return err
	}
	replies := make([]json.RawMessage, len(events))
	var g errgroup.Group
	g.SetLimit(batchAtOnce)
	for i, raw := range events {
		g.Go(func() (err error) {
			replies[i], err = rt.answerEvent(r, raw)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.Context().Err(); errors.Is(err, context.Canceled) {
		return err
	}
	answer, err := json.Marshal(replies)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	w.Header().Set("Content-Type", event.ApplicationCloudEventsBatchJSON)
	if _, err := w.Write(answer); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// splitBatch reads the events of a batch.
func splitBatch(r *http.Request) ([][]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &server.Error{Status: http.StatusUnsupportedMediaType, Message: "content encoding " + strconv.Quote(clip(encoding)) +
			" is not supported for a batch of events: send it as it is"}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyError(r.Context(), err)
	}
	wrong := func(err error) error {
		return &server.Error{Status: http.StatusBadRequest, Message: "invalid batch of CloudEvents: " + err.Error()}
	}
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '[' {
		return nil, wrong(notJSON(dec, "expected a list"))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, wrong(notJSON(dec, ""))
	}
	events := [][]byte{}
	for dec.PeekKind() != ']' {
		raw, err := dec.ReadValue()
		if err != nil {
			return nil, wrong(notJSON(dec, ""))
		}
		if len(events) == maxBatch {
			return nil, &server.Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("more than the limit of %d events in a batch", maxBatch)}
		}
		events = append(events, bytes.Clone(raw))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, wrong(notJSON(dec, ""))
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, wrong(fmt.Errorf("more follows the list at byte %d", dec.InputOffset()))
	}
	return events, nil
}

// answerEvent sends one event to its model and returns the answer, an event in any case.
func (rt *Router) answerEvent(r *http.Request, raw []byte) (json.RawMessage, error) {
	start := time.Now()
	x := &exchange{event: &eventRequest{structured: true}}
	reply, err := rt.askModel(r, x, raw)
	status := http.StatusOK
	if err != nil {
		e := translate(err)
		status = e.Status
		var ev *event.Event
		if ev, err = newErrorEvent(x, e); err == nil {
			reply, err = json.Marshal(ev)
		}
	}
	rt.metrics.observe(x, status, time.Since(start))
	return reply, err
}

// askModel sends one event to its model.
func (rt *Router) askModel(r *http.Request, x *exchange, raw []byte) ([]byte, error) {
	var err error
	if x.event.attributes, err = parseEnvelope(raw); err != nil {
		return nil, invalidEvent(err)
	}
	if _, err := rt.asksLater(r.Header, x.event); err != nil {
		return nil, err
	} else if x.event.attributes[attributeSink] != "" {
		return nil, &server.Error{Status: http.StatusBadRequest, Message: "the event names a sink and others of its batch do not: send it in another one"}
	}
	hints, err := x.event.hints()
	if err != nil {
		return nil, err
	}
	if err := rt.choose(r.Header, x, hints); err != nil {
		return nil, err
	}
	ctx, cancel, err := x.event.untilExpiry(r.Context())
	if err != nil {
		return nil, err
	}
	defer cancel()
	header := http.Header{"Content-Type": {event.ApplicationCloudEventsJSON}}
	for _, name := range []string{"Traceparent", "Tracestate", server.HeaderRequestID} {
		if v, ok := r.Header[name]; ok {
			header[name] = v
		}
	}
	head, reply, err := rt.sendEvent(ctx, x, header, raw)
	if err != nil {
		return nil, err
	}
	if head.Header.Get("Content-Type") != event.ApplicationCloudEventsJSON || !json.Valid(reply) {
		return nil, errNoEvent
	}
	return reply, nil
}

var errNoEvent = &server.Error{Status: http.StatusBadGateway, Message: "the model did not answer with an event"}

// answerHead is what stands before the body of a model's answer.
type answerHead struct {
	StatusCode int
	Header     http.Header
}

// sendEvent sends an event to x.target and returns the answer, read whole.
func (rt *Router) sendEvent(ctx context.Context, x *exchange, header http.Header, body []byte) (answerHead, []byte, error) {
	req := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{Scheme: "http", Host: x.target.Revision, Path: "/"},
		Header: header, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
	}).WithContext(ctx)
	gauge := rt.metrics.inFlight.WithLabelValues(x.target.Model)
	gauge.Inc()
	defer gauge.Dec()
	res, err := rt.backend.RoundTrip(req)
	if err != nil {
		return answerHead{}, nil, backendError(err)
	}
	defer func() { _ = res.Body.Close() }()
	if x.cold = res.Header.Get(knative.HeaderColdStart) == "true"; x.cold {
		x.phases = res.Header.Get("Server-Timing")
	}
	reply, err := io.ReadAll(res.Body)
	if err != nil {
		return answerHead{}, nil, backendError(err)
	}
	return answerHead{res.StatusCode, res.Header}, reply, nil
}

// attributeExpiry is CloudEvents' extension for the time after which an event is of no use: an event's deadline.
const attributeExpiry = "expirytime"

// untilExpiry bounds the answer to an event by the event's own deadline.
func (e *eventRequest) untilExpiry(ctx context.Context) (context.Context, context.CancelFunc, error) {
	text, ok := e.attributes[attributeExpiry]
	if !ok {
		return ctx, func() {}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, nil, &server.Error{Status: http.StatusBadRequest, Message: "attribute " + attributeExpiry + " is " + strconv.Quote(clip(text)) +
			", expected a time such as 2026-01-02T15:04:05Z"}
	}
	ctx, cancel := context.WithDeadline(ctx, at)
	if err := ctx.Err(); err != nil {
		cancel()
		return nil, nil, err
	}
	return ctx, cancel, nil
}
