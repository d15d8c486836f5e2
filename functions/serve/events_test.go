package serve

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
)

// eventHeader is a good event's in binary mode; more is pairs of names and values, an empty value removes one.
func eventHeader(more ...string) map[string]string {
	h := map[string]string{"Ce-Specversion": "1.0", "Ce-Id": "e-1", "Ce-Source": "/test", "Ce-Type": "dev.weir.predict", "Content-Type": "application/json"}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = more[i+1]
		if more[i+1] == "" {
			delete(h, more[i])
		}
	}
	return h
}

var structured = map[string]string{"Content-Type": "application/cloudevents+json; charset=utf-8"}

// readReply reads an answer as a client's library would.
func readReply(t *testing.T, w *httptest.ResponseRecorder) (*event.Event, binding.Encoding) {
	t.Helper()
	m := cehttp.NewMessageFromHttpResponse(w.Result())
	e, err := binding.ToEvent(t.Context(), m)
	if err != nil {
		t.Fatalf("status %d: no event: %v: %s", w.Code, err, w.Body)
	}
	if err := e.Validate(); err != nil {
		t.Errorf("invalid event: %v", err)
	}
	return e, m.ReadEncoding()
}

func TestEventAnswers(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	const rows, rowsOut = `{"instances":[[1,2,3]]}`, `{"predictions":[[1.0,2.0,3.0]]}`
	const image = `{"predictions":[{"classes":[281,207],"labels":["cat","dog"],"scores":[0.75,0.25]}]}`
	tests := []struct {
		name       string
		call       call
		structured bool
		want       string
	}{
		{"binary, V1", call{path: "/", header: eventHeader(), body: rows}, false, rowsOut},
		{"binary, without a content type", call{path: "/events", header: eventHeader("Content-Type", ""), body: rows}, false, rowsOut},
		{"binary, checked attributes", call{path: "/", header: eventHeader("Ce-Model", "toy", "Ce-Modelversion", "3", "Ce-Modeltag", "stable"), body: rows}, false, rowsOut},
		{"binary, V2", call{path: "/", header: eventHeader(), body: `{"id":"q","inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`}, false,
			`{"model_name":"toy","model_version":"3","id":"q","outputs":[{"name":"x_out","datatype":"FP32","shape":[1,3],"data":[1.0,2.0,3.0]}]}`},
		{"binary, V2 that asks for binary data gets JSON", call{path: "/", header: eventHeader(), body: `{"parameters":{"binary_data_output":true},"inputs":[{"name":"uint8","shape":[1],"datatype":"UINT8","data":[9]}]}`}, false,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"uint8_out","datatype":"UINT8","shape":[1],"data":[9]}]}`},
		{"binary, image", call{path: "/", header: eventHeader("Content-Type", "image/jpeg"), body: "jpeg"}, false, image},
		{"binary, examples", call{path: "/", header: eventHeader(), body: `{"signature_name":"regress","examples":[{"x":1}]}`}, false, `{"result":[1.5],"results":[1.5]}`},
		{"binary, column of strings", call{path: "/", header: eventHeader(), body: `{"signature_name":"bytes","inputs":[{"b64":"YQ=="}]}`}, false, `{"outputs":["a"]}`},
		{"binary, non-finite numbers", call{path: "/", header: eventHeader(), body: `{"inputs":[[NaN,1,2]]}`}, false, `{"outputs":[[NaN,1.0,2.0]]}`},
		{"structured, V1", call{path: "/events", header: structured, body: `{"specversion":"1.0","id":"e-1","source":"/test","type":"t","datacontenttype":"application/json","data":` + rows + `,"traceparent":"00-1-2-01"}`}, true, rowsOut},
		{"structured, data first", call{path: "/", header: structured, body: `{"data":` + rows + `,"id":"e-1","type":"t","source":"/test","specversion":"1.0"}`}, true, rowsOut},
		{"structured, V2", call{path: "/", header: structured, body: `{"specversion":"1.0","id":"e-1","source":"/test","type":"t","data":{"inputs":[{"datatype":"INT64","name":"int64","shape":[2],"data":[1,2]}]}}`}, true,
			`{"model_name":"toy","model_version":"3","outputs":[{"name":"int64_out","datatype":"INT64","shape":[2],"data":[1,2]}]}`},
		{"structured, image", call{path: "/", header: structured, body: `{"specversion":"1.0","id":"e-1","source":"/test","type":"t","datacontenttype":"image/png","data_base64":"cG5n"}`}, true, image},
		{"structured, image, as programs write JSON", call{path: "/", header: structured, body: `{"specversion": "1.0", "id": "e-1", "source": "/test", "type": "t",
			"data_base64": "cG5n", "datacontenttype": "image/png"}`}, true, image},
		{"structured, JSON as base64", call{path: "/", header: structured, body: `{"specversion": "1.0", "id": "e-1", "source": "/test", "type": "t", "data_base64": "` +
			base64.StdEncoding.EncodeToString([]byte(rows)) + `"}`}, true, rowsOut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !tt.structured {
				tt.call.header["Ce-Traceparent"] = "00-1-2-01"
			}
			w := tt.call.do(t, h)
			e, encoding := readReply(t, w)
			if w.Code != http.StatusOK || strings.TrimSpace(string(e.Data())) != tt.want {
				t.Errorf("status %d\n got %s\nwant %s", w.Code, e.Data(), tt.want)
			}
			if (encoding == binding.EncodingStructured) != tt.structured {
				t.Errorf("the answer's mode is %v", encoding)
			}
			if e.Type() != TypePrediction || e.Source() != "/functions/toy" || e.ID() == "" || e.ID() == "e-1" || e.DataContentType() != "application/json" {
				t.Errorf("type %q, source %q, id %q, datacontenttype %q", e.Type(), e.Source(), e.ID(), e.DataContentType())
			}
			for name, want := range map[string]any{"causationid": "e-1", "model": "toy", "modelversion": "3", "modelrevision": "toy-00001"} {
				if got := e.Extensions()[name]; got != want {
					t.Errorf("extension %s is %v, want %v", name, got, want)
				}
			}
			if trace, has := e.Extensions()["traceparent"]; has && trace != "00-1-2-01" || !has && !tt.structured {
				t.Errorf("traceparent %v", trace)
			}
		})
	}
}

func TestEventErrors(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	for name, c := range map[string]call{
		"binary":     {path: "/", header: eventHeader(), body: `{"instances":[]}`},
		"structured": {path: "/", header: structured, body: `{"specversion":"1.0","id":"e-1","source":"/test","type":"t","data":{"instances":[]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.do(t, h)
			e, encoding := readReply(t, w)
			if w.Code != 400 || e.Type() != TypeError || e.Extensions()["causationid"] != "e-1" || (encoding == binding.EncodingStructured) != (name == "structured") {
				t.Errorf("status %d, mode %v: %v", w.Code, encoding, e)
			}
			var data struct {
				Error  string
				Status int
			}
			if err := json.Unmarshal(e.Data(), &data); err != nil || data.Status != 400 || !strings.Contains(data.Error, "instances") {
				t.Errorf("%v: %s", err, e.Data())
			}
		})
	}
}

// TestErrorsNameTheirCause: whoever sent an event that cannot be read knows which one it was.
func TestErrorsNameTheirCause(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	for name, c := range map[string]call{
		"binary":             {path: "/", header: eventHeader("Ce-Time", "yesterday"), body: `{"instances":[[1,2,3]]}`},
		"structured":         {path: "/", header: structured, body: `{"specversion":"1.0","id":"e-1","source":"/test","type":"t","time":"yesterday"}`},
		"an attribute twice": {path: "/", header: structured, body: `{"specversion":"1.0","id":"e-1","id":"e-2","source":"/test","type":"t"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := c.do(t, h)
			if e, _ := readReply(t, w); w.Code != 400 || e.Type() != TypeError || e.Extensions()["causationid"] != "e-1" {
				t.Errorf("status %d: %v", w.Code, e)
			}
		})
	}
}

// TestEventTagUnknown lets a tag pass that the function cannot know: the router chose by it.
func TestEventTagUnknown(t *testing.T) {
	t.Parallel()
	m := toy()
	m.meta.Labels = nil
	s := newServer(t, Options{})
	s.SetModel(m)
	w := call{path: "/", header: eventHeader("Ce-Modeltag", "blue"), body: `{"instances":[[1,2,3]]}`}.do(t, s.Handler())
	if e, _ := readReply(t, w); e.Type() != TypePrediction {
		t.Errorf("status %d: %v", w.Code, e)
	}
}

// TestEventIDInAnyAlphabet: attributes are percent-encoded in headers, both ways, and not in JSON.
func TestEventIDInAnyAlphabet(t *testing.T) {
	t.Parallel()
	h := toyServer(t).Handler()
	for _, id := range []string{"%C3%BCber%20%25", "über%20%25"} {
		w := call{path: "/", header: eventHeader("Ce-Id", id), body: `{"instances":[[1,2,3]]}`}.do(t, h)
		if got := w.Header().Get("Ce-Causationid"); got != "%C3%BCber%20%25" {
			t.Errorf("%s: causationid %q", id, got)
		}
	}
	w := call{path: "/", header: structured, body: `{"specversion":"1.0","id":"über %","source":"/test","type":"t","data":{"instances":[[1,2,3]]}}`}.do(t, h)
	if e, _ := readReply(t, w); e.Extensions()["causationid"] != "über %" {
		t.Errorf("%v", e)
	}
}
