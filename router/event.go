package router

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json/jsontext"

	"weir.dev/weir/internal/cloudevent"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/router/route"
)

// Types of events.
const (
	TypePredict    = "dev.weir.predict"    // a request for the model that the attribute model names
	TypePrediction = "dev.weir.prediction" // an answer
	TypeError      = "dev.weir.error"      // an answer that is none
)

// maxAttribute bounds an attribute that the router reads, in bytes.
const maxAttribute = 1024

// eventRequest is what the router knows of an event: how to answer it, and the attributes that it reads.
type eventRequest struct {
	structured bool
	// batch says that it is a list of events, in structured mode.
	batch      bool
	attributes map[string]string
}

// readAttributes are those that the router reads.
var readAttributes = map[string]bool{
	"specversion": true, "id": true, "source": true, "type": true,
	"model": true, "modeltag": true, "modelversion": true, "session": true, "traceparent": true, "tracestate": true,
	attributeExpiry: true, attributeSink: true,
}

// serveEvent sends an event, unchanged, to the model that it means.
func (rt *Router) serveEvent(w http.ResponseWriter, r *http.Request, x *exchange) error {
	if err := x.isEvent(r); err != nil {
		return err
	}
	r, done, err := rt.admit(w, r, x)
	if err != nil {
		return err
	}
	defer done()
	if x.event.batch {
		return rt.serveBatch(w, r)
	}
	if x.event.structured {
		err = x.readStructured(r)
	} else {
		err = x.event.readHeader(r.Header)
	}
	if err != nil {
		return err
	}
	hints, err := x.event.hints()
	if err != nil {
		return err
	}
	if later, err := rt.eventLater(w, r, x, hints); later || err != nil {
		return err
	}
	if err := rt.pick(w, r, x, hints); err != nil {
		return err
	}
	ctx, cancel, err := x.event.untilExpiry(r.Context())
	if err != nil {
		return err
	}
	defer cancel()
	x.forward = "/"
	return rt.forward(w, r.WithContext(ctx), x)
}

// isEvent finds the event's mode, which is the mode of its answer, or says what is expected instead.
func (x *exchange) isEvent(r *http.Request) error {
	wrong := func(message string) error {
		return &server.Error{Status: http.StatusUnsupportedMediaType, Message: message}
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && kind == event.ApplicationCloudEventsJSON:
		x.event = &eventRequest{structured: true}
	case err == nil && kind == event.ApplicationCloudEventsBatchJSON:
		x.event = &eventRequest{structured: true, batch: true}
	case err == nil && strings.HasPrefix(kind, "application/cloudevents"):
		return wrong("event format " + clip(kind) + " is not supported: expected " + event.ApplicationCloudEventsJSON + " or " + event.ApplicationCloudEventsBatchJSON)
	case r.Header.Get("Ce-Specversion") != "" || r.Header.Get("Ce-Type") != "" || r.Header.Get("Ce-Id") != "":
		x.event = &eventRequest{}
	default:
		return wrong("expected a CloudEvent: Ce-Specversion 1.0, Ce-Id, Ce-Source and Ce-Type as headers, or Content-Type " + event.ApplicationCloudEventsJSON)
	}
	return nil
}

// readStructured reads the envelope, which takes the whole body since attributes may follow the data, and puts the same
// bytes back.
func (x *exchange) readStructured(r *http.Request) error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return &server.Error{Status: http.StatusUnsupportedMediaType, Message: "content encoding " + strconv.Quote(clip(encoding)) +
			" is not supported for an event in structured mode: send it as it is, or in binary mode"}
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := body.ReadFrom(r.Body); err != nil {
		return bodyError(r.Context(), err)
	}
	attributes, err := parseEnvelope(body.Bytes())
	x.event.attributes = attributes
	if err != nil {
		return invalidEvent(err)
	}
	data := body.Bytes()
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(data)), int64(len(data)), nil
	return nil
}

func invalidEvent(err error) error {
	return &server.Error{Status: http.StatusBadRequest, Message: "invalid CloudEvent: " + err.Error()}
}

// readHeader reads the attributes of an event in binary mode.
func (e *eventRequest) readHeader(h http.Header) error {
	e.attributes = map[string]string{}
	for name := range readAttributes {
		values := h["Ce-"+strings.ToUpper(name[:1])+name[1:]]
		if len(values) == 0 {
			continue
		}
		value := cloudevent.Decode(values[0])
		if len(value) > maxAttribute {
			return invalidEvent(tooLong(name))
		}
		if len(values) > 1 {
			return invalidEvent(fmt.Errorf("attribute %s is there twice", name))
		}
		e.attributes[name] = value
	}
	if err := complete(e.attributes); err != nil {
		return invalidEvent(err)
	}
	return nil
}

// parseEnvelope reads the attributes of an event in structured mode. With an error it returns those it could read.
func parseEnvelope(data []byte) (map[string]string, error) {
	attributes := map[string]string{}
	// Names are checked here, where they matter, and not in the data.
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '{' {
		return attributes, notJSON(dec, "expected an object")
	}
	if _, err := dec.ReadToken(); err != nil {
		return attributes, notJSON(dec, "")
	}
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return attributes, notJSON(dec, "")
		}
		name := ""
		if raw := token.String(); len(raw) <= maxAttribute {
			name = strings.Clone(raw)
		}
		if !readAttributes[name] {
			if err := dec.SkipValue(); err != nil {
				return attributes, notJSON(dec, "")
			}
			continue
		}
		if err := readAttribute(dec, name, attributes); err != nil {
			return attributes, err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return attributes, notJSON(dec, "")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return attributes, fmt.Errorf("more follows the event at byte %d", dec.InputOffset())
	}
	return attributes, complete(attributes)
}

func readAttribute(dec *jsontext.Decoder, name string, into map[string]string) error {
	token, err := dec.ReadToken()
	if err != nil {
		return notJSON(dec, "")
	}
	if _, twice := into[name]; twice {
		return fmt.Errorf("attribute %s is there twice", name)
	}
	switch kind := token.Kind(); {
	case kind == 'n':
		return nil // An attribute that is null is not there (CloudEvents JSON format, 2.2).
	case kind == '"' || kind == '0' && name == "modelversion":
	default:
		return fmt.Errorf("attribute %s is not a string", name)
	}
	value := token.String()
	if len(value) > maxAttribute {
		return tooLong(name)
	}
	into[name] = strings.Clone(value)
	return nil
}

func notJSON(dec *jsontext.Decoder, expected string) error {
	if expected != "" {
		expected = ", " + expected
	}
	return fmt.Errorf("not JSON at byte %d%s", dec.InputOffset(), expected)
}

func tooLong(name string) error {
	return fmt.Errorf("attribute %s is over %d bytes", name, maxAttribute)
}

// complete checks the attributes that every event has.
func complete(attributes map[string]string) error {
	if v, ok := attributes["specversion"]; ok && v != "1.0" {
		return fmt.Errorf("specversion is %q, expected 1.0", clip(v))
	}
	for _, name := range []string{"specversion", "id", "source", "type"} {
		if attributes[name] == "" {
			return fmt.Errorf("attribute %s is missing", name)
		}
	}
	return nil
}

// hints says where the event goes.
func (e *eventRequest) hints() (route.Hints, error) {
	a := e.attributes
	h := route.Hints{Model: clip(a["model"]), Tag: clip(a["modeltag"]), Session: a["session"]}
	wrong := func(message string) (route.Hints, error) {
		return h, &server.Error{Status: http.StatusBadRequest, Message: message}
	}
	if v := a["modelversion"]; v != "" {
		version, err := strconv.ParseInt(v, 10, 64)
		if err != nil || version <= 0 {
			return wrong("attribute modelversion is " + strconv.Quote(clip(v)) + ", expected a positive whole number")
		}
		h.Version = version
	}
	switch typ := a["type"]; {
	case typ == TypePrediction || typ == TypeError:
		return wrong("event of type " + typ + " is an answer, not a request: answering it would make a loop")
	case h.Model != "":
	case typ == TypePredict:
		return wrong("event of type " + TypePredict + " needs the extension attribute model: GET /v1/models lists the models")
	default:
		h.EventType = typ
		if len(typ) > 253 {
			h.EventType = clip(typ)
		}
	}
	return h, nil
}
