package router

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"weir.dev/weir/internal/cloudevent"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
)

// eventSource is the source of the router's own events.
const eventSource = "/weir/router"

// writeError answers an error as JSON, as an event to an event, with the same HTTP status, or as a gRPC status to a call.
func (rt *Router) writeError(w http.ResponseWriter, r *http.Request, e *server.Error) {
	x := exchangeOf(r.Context())
	if x.call {
		rpc.WriteError(w, r, e)
		return
	}
	if x.event == nil {
		server.WriteError(w, e)
		return
	}
	if err := writeErrorEvent(w, r, x, e); err != nil {
		server.WriteError(w, e)
	}
}

// newErrorEvent makes the event that answers x's with an error.
func newErrorEvent(x *exchange, e *server.Error) (*event.Event, error) {
	data, err := json.Marshal(struct {
		Error  string `json:"error"`
		Status int    `json:"status"`
	}{e.Message, e.Status})
	if err != nil {
		return nil, fmt.Errorf("error event: %w", err)
	}
	ev := event.New(event.CloudEventsVersionV1)
	ev.SetID(rand.Text())
	ev.SetSource(eventSource)
	ev.SetType(TypeError)
	ev.SetTime(time.Now().UTC())
	for name, value := range map[string]string{
		"causationid": x.event.attributes["id"], "traceparent": x.event.attributes["traceparent"], "tracestate": x.event.attributes["tracestate"],
		"model": x.target.Model, "modelrevision": x.target.Revision,
	} {
		if value != "" {
			ev.SetExtension(name, value)
		}
	}
	ev.SetDataContentType(event.ApplicationJSON)
	ev.DataEncoded = data
	if err := ev.Validate(); err != nil {
		return nil, fmt.Errorf("error event: %w", err)
	}
	return &ev, nil
}

func writeErrorEvent(w http.ResponseWriter, r *http.Request, x *exchange, e *server.Error) error {
	ev, err := newErrorEvent(x, e)
	if err != nil {
		return err
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	ctx := binding.WithForceBinary(r.Context())
	if x.event.structured {
		ctx = binding.WithForceStructured(ctx)
	}
	if err := cehttp.WriteResponseWriter(ctx, binding.ToMessage(ev), e.Status, cloudevent.EncodeWriter(w)); err != nil {
		return fmt.Errorf("error event: %w", err)
	}
	return nil
}
