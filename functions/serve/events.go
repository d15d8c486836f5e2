package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/cloudevent"
	"weir.dev/weir/internal/server"
)

// Types of the events that a function sends.
const (
	TypePrediction = "dev.weir.prediction"
	TypeError      = "dev.weir.error"
)

// eventState is what the answer to an event takes from the event.
type eventState struct {
	structured bool
	// cause is the event's id, if that much of it could be read; request is nil until all was.
	cause   string
	request *event.Event
	// meta is of the model that was asked.
	meta model.Metadata
}

// serveEvent answers a CloudEvent with a CloudEvent in the same mode.
func serveEvent(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	x := exchangeOf(r)
	x.event.meta = st.meta
	if mediaType(r.Header.Get("Content-Type")) == event.ApplicationCloudEventsBatchJSON {
		x.event.structured = true
		return s.serveBatch(st, w, r)
	}
	e, err := s.readEvent(w, r, &x.event)
	if err != nil {
		return err
	}
	answer, err := s.answerData(r.Context(), st, e, x.event.structured)
	if err != nil {
		return err
	}
	reply, err := s.newEvent(x.event, TypePrediction, answer)
	if err != nil {
		return err
	}
	return writeEvent(r.Context(), w, reply, x.event.structured, http.StatusOK)
}

// readEvent reads an event in binary or structured mode and notes in state what the answer needs.
func (s *Server) readEvent(w http.ResponseWriter, r *http.Request, state *eventState) (*event.Event, error) {
	contentType := mediaType(r.Header.Get("Content-Type"))
	switch {
	case contentType == event.ApplicationCloudEventsJSON:
		state.structured = true
	case strings.HasPrefix(contentType, "application/cloudevents"):
		return nil, statusError(http.StatusUnsupportedMediaType, "event format %q is not supported: expected %s or %s",
			contentType, event.ApplicationCloudEventsJSON, event.ApplicationCloudEventsBatchJSON)
	}
	body, err := s.readBody(w, r, nil)
	if err != nil {
		return nil, err
	}
	return s.parseEvent(r.Context(), r.Header, body, state)
}

// parseEvent reads an event from a message's header and body.
func (s *Server) parseEvent(ctx context.Context, header http.Header, body []byte, state *eventState) (*event.Event, error) {
	if state.structured {
		// The event is read by a library that is lenient and unbounded in depth; this is neither.
		head, err := checkStructured(s.scanner(body, false))
		state.cause = head.id
		if err != nil {
			return nil, err
		}
		if head.spaced {
			body = compact(body)
		}
		if err := checkSpecVersion(head.version); err != nil {
			return nil, err
		}
	}
	header = cloudevent.DecodeHeader(header)
	if !state.structured {
		state.cause = header.Get("Ce-Id")
		if err := checkSpecVersion(header.Get("Ce-Specversion")); err != nil {
			return nil, err
		}
	}
	message := cehttp.NewMessage(header, io.NopCloser(bytes.NewReader(body)))
	if message.ReadEncoding() == binding.EncodingUnknown {
		return nil, badRequest("expected a CloudEvent: Ce-Specversion 1.0, Ce-Id, Ce-Source and Ce-Type as headers, or Content-Type %s",
			event.ApplicationCloudEventsJSON)
	}
	e, err := binding.ToEvent(ctx, message)
	if err != nil {
		return nil, badRequest("invalid CloudEvent: %v", oneLine(err))
	}
	if e.Context == nil {
		return nil, badRequest("invalid CloudEvent: specversion: expected \"1.0\"")
	}
	state.request = e
	if err := e.Validate(); err != nil {
		return nil, badRequest("invalid CloudEvent: %v", oneLine(err))
	}
	return e, nil
}

// checkSpecVersion refuses events of other versions, as the router does: the library reads 0.3 too, whose data may be in another place.
// What is empty the library finds missing.
func checkSpecVersion(version string) error {
	if version != "" && version != event.CloudEventsVersionV1 {
		return badRequest("invalid CloudEvent: specversion is %.40q, expected %s", version, event.CloudEventsVersionV1)
	}
	return nil
}

// eventHead is what is known of an event's JSON before the library reads it.
type eventHead struct {
	id, version string
	// spaced says that white space stands before data_base64's value, as most programs write JSON: the library takes it for base64
	// unless datacontenttype came before.
	spaced bool
}

// checkStructured checks an event's JSON.
func checkStructured(scan *scanner) (head eventHead, err error) {
	if scan.peek() != '{' {
		return head, scan.fail("expected a CloudEvent as an object, got %s", scan.what())
	}
	has := make(map[string]bool)
	err = scan.object(func(key string) error {
		if err := once(has, key, "the event"); err != nil {
			return err
		}
		after := scan.i
		isText := scan.peek() == '"'
		switch {
		case key == "data_base64" && scan.i > after:
			head.spaced = true
		case key == "id" && isText:
			head.id, err = scan.text(key)
			return err
		case key == "specversion" && isText:
			head.version, err = scan.text(key)
			return err
		}
		return scan.skip()
	})
	if err != nil {
		return head, err
	}
	return head, scan.end()
}

// compact returns JSON without white space.
func compact(body []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(body))
	if err := json.Compact(&b, body); err != nil {
		return body // the library says what is wrong with it
	}
	return b.Bytes()
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// checkEvent refuses answers that came back and events for another model.
func checkEvent(st *state, e *event.Event) error {
	if t := e.Type(); t == TypePrediction || t == TypeError {
		return badRequest("event of type %s is an answer, not a request: answering it would make a loop", t)
	}
	if name, ok := extension(e, "model"); ok && name != st.meta.Name {
		return model.Errorf(model.NotFound, "model %q not found: this server has %q", name, st.meta.Name)
	}
	if version, ok := extension(e, "modelversion"); ok {
		if err := checkVersion(st, version); err != nil {
			return err
		}
	}
	// Tags are given by the Service's traffic; a function that was told no labels cannot know its own.
	if tag, ok := extension(e, "modeltag"); ok && len(st.meta.Labels) > 0 && !slices.Contains(st.meta.Labels, tag) {
		return model.Errorf(model.NotFound, "model %q has no tag %q here: it has %s", st.meta.Name, tag, orNone(st.meta.Labels))
	}
	return nil
}

func extension(e *event.Event, name string) (string, bool) {
	v, ok := e.Extensions()[name]
	if !ok {
		return "", false
	}
	text, err := types.Format(v)
	return text, err == nil && text != ""
}

// predictEvent takes the event's data for what its type says: an image, or JSON of V1 or V2.
func (s *Server) predictEvent(ctx context.Context, st *state, e *event.Event, finite bool) ([]byte, error) {
	data, contentType := e.Data(), e.DataContentType()
	switch {
	case isImage(contentType):
		if err := checkImage(st, contentType); err != nil {
			return nil, err
		}
		return s.predictImage(ctx, st, data, finite)
	case !isJSON(contentType):
		return nil, statusError(http.StatusUnsupportedMediaType, "datacontenttype %q is not supported: expected application/json%s",
			contentType, orImages(st, apiV1Predict))
	case len(data) == 0:
		return nil, badRequest(`the event has no data: expected "instances" or "inputs", or an image`)
	}
	env, err := s.readEnvelope(data, finite)
	if err != nil {
		return nil, err
	}
	if s.looksV2(env) {
		answer, err := s.inferV2(ctx, st, data, nil, v2Form{finite: finite}, nil)
		return answer.json, err
	}
	a := apiV1Predict
	if env.examples >= 0 {
		a = apiV1Classify
		if st.meta.Signatures[or(env.signature, model.DefaultSignature)].Method == model.MethodRegress {
			a = apiV1Regress
		}
	}
	return s.predictV1(ctx, st, a, env)
}

// looksV2 reports whether a JSON body's inputs are a list of objects with a name, as in V2; in V1 they are values.
func (s *Server) looksV2(e envelope) bool {
	if e.inputs < 0 || e.instances >= 0 {
		return false
	}
	scan := e.at(s, e.inputs)
	if scan.open('[') != nil || scan.peek() != '{' || scan.isB64() {
		return false
	}
	found := false
	err := scan.object(func(key string) error {
		found = found || key == "name" || key == "datatype" || key == "shape"
		return scan.pass()
	})
	return found && err == nil
}

// writeErrorEvent answers an error as an event, with the error's HTTP status.
func (s *Server) writeErrorEvent(w http.ResponseWriter, r *http.Request, e *server.Error) {
	x := exchangeOf(r)
	reply, err := s.newEvent(x.event, TypeError, errorData(e))
	if err == nil && e.Status >= 400 {
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", retryAfter(e.RetryAfter))
		}
		err = writeEvent(r.Context(), w, reply, x.event.structured, e.Status)
	}
	if err != nil {
		server.WriteError(w, e)
	}
}

func writeEvent(ctx context.Context, w http.ResponseWriter, e *event.Event, structured bool, status int) error {
	ctx = binding.WithForceBinary(ctx)
	if structured {
		ctx = binding.WithForceStructured(ctx)
	}
	if err := cehttp.WriteResponseWriter(ctx, binding.ToMessage(e), status, cloudevent.EncodeWriter(w)); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return nil
}
