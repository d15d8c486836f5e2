package serve

import (
	"crypto/rand"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// traceExtensions are kept from a request's event to its answer: the distributed tracing extension.
var traceExtensions = []string{"traceparent", "tracestate"}

// newEvent makes the answer to an event, which may not have been read.
func (s *Server) newEvent(state eventState, kind string, data []byte) (*event.Event, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(rand.Text())
	e.SetSource(s.source)
	e.SetType(kind)
	e.SetTime(time.Now().UTC())
	e.SetExtension("model", s.name)
	if state.meta.Version != 0 {
		// A string, since CloudEvents' integers have 32 bits and version folders may be time stamps.
		e.SetExtension("modelversion", strconv.FormatInt(state.meta.Version, 10))
	}
	if s.revision != "" {
		e.SetExtension("modelrevision", s.revision)
	}
	if state.cause != "" {
		e.SetExtension("causationid", state.cause)
	}
	if req := state.request; req != nil {
		for _, name := range traceExtensions {
			if v, ok := extension(req, name); ok {
				e.SetExtension(name, v)
			}
		}
	}
	e.SetDataContentType(event.ApplicationJSON)
	// Not SetData, which would parse what was just written.
	e.DataEncoded = data
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	return &e, nil
}

// retryAfter is a Retry-After header in whole seconds, rounded up.
func retryAfter(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }
