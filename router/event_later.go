package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/router/later"
	"weir.dev/weir/router/route"
)

// attributeSink names where the answer to an event goes, which is then sent later.
const attributeSink = "sink"

// respondAsync is the preference for an answer later (RFC 7240, 4.1).
const respondAsync = "respond-async"

// maxFailure bounds what a dead letter is told of an error, in bytes.
const maxFailure = 1024

// prefersLater reads Prefer, whose Preferences have parameters that do not matter here.
func prefersLater(h http.Header) bool {
	for _, line := range h["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(preference, ";")
			if strings.EqualFold(strings.TrimSpace(name), respondAsync) {
				return true
			}
		}
	}
	return false
}

// asksLater reports whether an event is to be answered later. A preference may be left unheeded: without a sink the
// answer comes at once. A sink that the event names may not.
func (rt *Router) asksLater(h http.Header, e *eventRequest) (bool, error) {
	sink := e.attributes[attributeSink]
	switch {
	case sink == "":
		return rt.later != nil && rt.later.HasSink() && prefersLater(h), nil
	case rt.later == nil || !rt.later.Allowed(sink):
		return false, &server.Error{Status: http.StatusForbidden,
			Message: "attribute sink is " + strconv.Quote(clip(sink)) + ", which is no sink of this router: --sink and --allow-sink say where answers may go"}
	}
	return true, nil
}

// eventLater accepts an event whose answer is to come later, if it asks for that.
func (rt *Router) eventLater(w http.ResponseWriter, r *http.Request, x *exchange, hints route.Hints) (bool, error) {
	asked, err := rt.asksLater(r.Header, x.event)
	if err != nil || !asked {
		return false, err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return true, &server.Error{Status: http.StatusUnsupportedMediaType, Message: "content encoding " + strconv.Quote(clip(encoding)) +
			" is not supported for an event that is answered later: send it as it is"}
	}
	if err := rt.check(r, x, hints); err != nil {
		return true, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true, bodyError(r.Context(), err)
	}
	return true, rt.accept(w, []later.Request{{Header: laterHeader(r.Header), Body: body, Sink: x.event.attributes[attributeSink]}})
}

// batchLater accepts a batch whose answers are to come later: all of it or nothing.
func (rt *Router) batchLater(w http.ResponseWriter, r *http.Request, events [][]byte) (bool, error) {
	if rt.later == nil || len(events) == 0 {
		return false, nil
	}
	requests := make([]later.Request, 0, len(events))
	for i, raw := range events {
		x := &exchange{event: &eventRequest{structured: true}}
		// A batch that is answered at once has an error for each event that is wrong.
		var err error
		x.event.attributes, err = parseEnvelope(raw)
		asked, notAllowed := rt.asksLater(r.Header, x.event)
		if !asked && notAllowed == nil && len(requests) == 0 {
			return false, nil
		}
		var hints route.Hints
		if err == nil {
			err = notAllowed
		}
		if err == nil && !asked {
			err = errors.New("it names no sink, others of the batch do")
		}
		if err == nil {
			hints, err = x.event.hints()
		}
		if err == nil {
			err = rt.check(r, x, hints)
		}
		if err != nil {
			t := translate(err)
			if t.Status == http.StatusInternalServerError {
				t = &server.Error{Status: http.StatusBadRequest, Message: err.Error()}
			}
			return true, &server.Error{Status: t.Status, Message: fmt.Sprintf("event %d of the batch: %s: none was accepted", i+1, t.Message), RetryAfter: t.RetryAfter}
		}
		header := laterHeader(r.Header)
		header.Set("Content-Type", event.ApplicationCloudEventsJSON)
		requests = append(requests, later.Request{Header: header, Body: raw, Sink: x.event.attributes[attributeSink]})
	}
	return true, rt.accept(w, requests)
}

// check refuses what could be refused at once: a model that there is not, a deadline that is over.
func (rt *Router) check(r *http.Request, x *exchange, hints route.Hints) error {
	if err := rt.choose(r.Header, x, hints); err != nil {
		return err
	}
	_, cancel, err := x.event.untilExpiry(r.Context())
	if err == nil {
		cancel()
	}
	return err
}

// accept answers 202 when the requests are on the disk.
func (rt *Router) accept(w http.ResponseWriter, requests []later.Request) error {
	if err := rt.later.Accept(requests...); err != nil {
		message := "the event could not be kept: try again"
		if errors.Is(err, later.ErrFull) {
			message = "too many events wait to be answered: try again later"
		}
		return &server.Error{Status: http.StatusServiceUnavailable, Message: message, RetryAfter: knative.RetryAfter, Err: err}
	}
	w.Header().Set("Preference-Applied", respondAsync)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// laterHeader is what of a request's header is kept: what the event consists of and what says where it goes.
func laterHeader(h http.Header) http.Header {
	kept := http.Header{}
	for name, values := range h {
		if strings.HasPrefix(name, "Ce-") {
			kept[name] = values
		}
	}
	for _, name := range []string{"Content-Type", "Traceparent", "Tracestate", server.HeaderRequestID, HeaderTag, HeaderKnativeTag, HeaderSession, HeaderTimeout} {
		if v, ok := h[name]; ok {
			kept[name] = v
		}
	}
	return kept
}

// predictLater asks the model for the answer to an event that was accepted. It is a later.Predict.
func (rt *Router) predictLater(ctx context.Context, r later.Request) (later.Answer, error) {
	start := time.Now()
	x := &exchange{event: &eventRequest{structured: strings.HasPrefix(r.Header.Get("Content-Type"), event.ApplicationCloudEventsJSON)}}
	answer, err := rt.askLater(ctx, x, r)
	status := http.StatusOK
	if err != nil {
		e := translate(err)
		status = e.Status
		answer, err = rt.judgeLater(x, e)
	}
	rt.metrics.observe(x, status, time.Since(start))
	return answer, err
}

func (rt *Router) askLater(ctx context.Context, x *exchange, r later.Request) (later.Answer, error) {
	var err error
	if x.event.structured {
		x.event.attributes, err = parseEnvelope(r.Body)
	} else {
		err = x.event.readHeader(r.Header)
	}
	if err != nil {
		return later.Answer{}, err
	}
	hints, err := x.event.hints()
	if err != nil {
		return later.Answer{}, err
	}
	if err := rt.choose(r.Header, x, hints); err != nil {
		return later.Answer{}, err
	}
	d, err := rt.limits.timeout(r.Header, false)
	if err != nil {
		return later.Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ctx, stop, err := x.event.untilExpiry(ctx)
	if err != nil {
		return later.Answer{}, err
	}
	defer stop()
	head, reply, err := rt.sendEvent(ctx, x, r.Header.Clone(), r.Body)
	if err != nil {
		return later.Answer{}, err
	}
	answer := later.Answer{Header: laterHeader(head.Header), Body: reply}
	if !x.event.structured && head.Header.Get("Ce-Type") == "" || x.event.structured && !json.Valid(reply) {
		return later.Answer{}, errNoEvent
	}
	if again(head.StatusCode) {
		return later.Answer{}, &server.Error{Status: head.StatusCode, Message: string(reply)}
	}
	return answer, nil
}

// again says whether what failed with a status may succeed at another time.
func again(status int) bool { return status == http.StatusTooManyRequests || status >= 500 }

// judgeLater makes an answer of an error that stays, and a failure of one that may not.
func (rt *Router) judgeLater(x *exchange, e *server.Error) (later.Answer, error) {
	if again(e.Status) && !x.event.expired() {
		return later.Answer{}, &later.DeliveryError{Dest: "/v1/models/" + x.target.Model, Code: e.Status, Data: []byte(e.Message[:min(len(e.Message), maxFailure)])}
	}
	ev, err := newErrorEvent(x, e)
	if err != nil {
		return later.Answer{}, err
	}
	body, err := json.Marshal(ev)
	if err != nil {
		return later.Answer{}, fmt.Errorf("error event: %w", err)
	}
	return later.Answer{Header: http.Header{"Content-Type": {event.ApplicationCloudEventsJSON}}, Body: body}, nil
}

// expired reports whether the event's own deadline is over.
func (e *eventRequest) expired() bool {
	at, err := time.Parse(time.RFC3339Nano, e.attributes[attributeExpiry])
	return err == nil && !time.Now().Before(at)
}
