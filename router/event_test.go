package router

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/knative"
)

// errorEvent reads an answer as a client's library would.
func errorEvent(t *testing.T, a answer) (*event.Event, binding.Encoding, string) {
	t.Helper()
	m := cehttp.NewMessage(a.header, io.NopCloser(strings.NewReader(a.body)))
	e, err := binding.ToEvent(t.Context(), m)
	if err != nil {
		t.Fatalf("no event: %v: %d %s", err, a.status, a.body)
	}
	if err := e.Validate(); err != nil {
		t.Errorf("invalid event: %v", err)
	}
	var data struct {
		Error  string
		Status int
	}
	if err := json.Unmarshal(e.Data(), &data); err != nil || data.Status != a.status || e.Type() != TypeError {
		t.Errorf("event of type %s with data %s under status %d: %v", e.Type(), e.Data(), a.status, err)
	}
	return e, m.ReadEncoding(), data.Error
}

func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo), Limits: Limits{Body: 8192}})
	long := strings.Repeat("x", maxAttribute+1)
	const structuredType = "application/cloudevents+json"
	tests := []struct {
		name   string
		header map[string]string
		body   string
		status int
		text   string
	}{
		{"no event", map[string]string{"Content-Type": "application/json"}, "{}", 415, "expected a CloudEvent"},
		{"a batch that is no list", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "{}", 400, "invalid batch of CloudEvents"},
		{"a batch cut short", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[{}", 400, "invalid batch of CloudEvents: not JSON"},
		{"a batch with more behind it", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[] 7", 400, "more follows the list"},
		{"a long batch", map[string]string{"Content-Type": "application/cloudevents-batch+json"}, "[" + strings.Repeat("0,", maxBatch) + "0]", 413, "limit of 1000 events"},
		{"a zipped batch", map[string]string{"Content-Type": "application/cloudevents-batch+json", "Content-Encoding": "gzip"}, "[]", 415, "not supported for a batch"},
		{"too late", structured, envelope(`,"model":"digits","expirytime":"2020-01-01T00:00:00Z"`), 504, "deadline exceeded"},
		{"a deadline that is none", binary("Ce-Model", "digits", "Ce-Expirytime", "soon"), "{}", 400, "expected a time such as"},
		{"other format", map[string]string{"Content-Type": "application/cloudevents+avro"}, "x", 415, "is not supported: expected " + structuredType},
		{"no specversion", binary("Ce-Specversion", ""), "", 400, "attribute specversion is missing"},
		{"old specversion", binary("Ce-Specversion", "0.3"), "", 400, `specversion is "0.3", expected 1.0`},
		{"no id", binary("Ce-Id", ""), "", 400, "attribute id is missing"},
		{"no source", binary("Ce-Source", ""), "", 400, "attribute source is missing"},
		{"no type", binary("Ce-Type", ""), "", 400, "attribute type is missing"},
		{"no model", binary(), "", 400, "needs the extension attribute model"},
		{"unknown model", binary("Ce-Model", "cats"), "", 404, `no such model "cats": there are digits, imagenet`},
		{"unknown tag", binary("Ce-Model", "imagenet", "Ce-Modeltag", "x"), "", 404, `has no tag "x": there are lite0, lite2`},
		{"unknown version", binary("Ce-Model", "imagenet", "Ce-Modelversion", "7"), "", 404, "has no version 7: there are 1, 2"},
		{"version no number", binary("Ce-Model", "imagenet", "Ce-Modelversion", "x"), "", 400, "attribute modelversion is"},
		{"unknown type", binary("Ce-Type", "com.example.other"), "", 404, `no such model for events of type "com.example.other"`},
		{"type of no model", binary("Ce-Type", "com.example.order"), "", 404, `no such model for events of type`},
		{"an answer", binary("Ce-Type", TypePrediction, "Ce-Model", "imagenet"), "", 400, "would make a loop"},
		{"an error", binary("Ce-Type", TypeError), "", 400, "would make a loop"},
		{"long attribute", binary("Ce-Model", long), "", 400, "attribute model is over 1024 bytes"},
		{"too large", binary("Ce-Model", "imagenet"), strings.Repeat("x", 9000), 413, "over the limit of 8192"},
		{"wrong timeout", binary("Ce-Model", "imagenet", HeaderTimeout, "x"), "", 400, "expected a duration"},
		{"contradicting tags", binary("Ce-Model", "imagenet", HeaderTag, "a", HeaderKnativeTag, "b"), "", 400, "contradicts"},
		{"structured, empty", structured, "", 400, "not JSON at byte 0"},
		{"structured, array", structured, "[]", 400, "expected an object"},
		{"structured, truncated", structured, `{"specversion":"1.0"`, 400, "not JSON at byte"},
		{"structured, truncated string", structured, `{"specversion":"1.`, 400, "not JSON at byte"},
		{"structured, no JSON", structured, `{"a":tru}`, 400, "not JSON at byte"},
		{"structured, more follows", structured, envelope(`,"model":"imagenet"`) + "{}", 400, "more follows the event"},
		{"structured, twice", structured, envelope(`,"model":"imagenet","model":"digits"`), 400, "attribute model is there twice"},
		{"structured, twice by escape", structured, envelope(`,"model":"imagenet","m\u006fdel":"digits"`), 400, "attribute model is there twice"},
		{"structured, number", structured, envelope(`,"model":5`), 400, "attribute model is not a string"},
		{"structured, object", structured, envelope(`,"session":{"a":1}`), 400, "attribute session is not a string"},
		{"structured, no type", structured, `{"specversion":"1.0","id":"e-1","source":"/test"}`, 400, "attribute type is missing"},
		{"structured, long", structured, envelope(`,"model":"` + long + `"`), 400, "attribute model is over 1024 bytes"},
		{"structured, version a fraction", structured, envelope(`,"model":"imagenet","modelversion":1.5`), 400, "attribute modelversion is"},
		{"structured, not UTF-8", structured, envelope(",\"model\":\"\xff\""), 400, "not JSON at byte"},
		{"structured, compressed", map[string]string{"Content-Type": structured["Content-Type"], "Content-Encoding": "gzip"}, "\x1f\x8b", 415, "send it as it is"},
		{"structured, deep", structured, envelope(`,"data":` + strings.Repeat("[", 3000)), 400, "not JSON at byte"},
		{"structured, too large", structured, envelope(`,"data":"` + strings.Repeat("x", 9000) + `"`), 413, "over the limit of 8192"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := f.do(t, ask{path: "/", header: tt.header, body: tt.body})
			if got.status != tt.status {
				t.Errorf("status %d, want %d: %s", got.status, tt.status, got.body)
			}
			if tt.status == http.StatusUnsupportedMediaType {
				if !strings.Contains(got.errorText(), tt.text) {
					t.Errorf("error %q, want %q in it", got.errorText(), tt.text)
				}
				return
			}
			e, mode, text := errorEvent(t, got)
			if !strings.Contains(text, tt.text) {
				t.Errorf("error %q, want %q in it", text, tt.text)
			}
			wantMode := binding.EncodingBinary
			if kind := tt.header["Content-Type"]; kind == structured["Content-Type"] || strings.HasPrefix(kind, "application/cloudevents-batch+json") {
				wantMode = binding.EncodingStructured
			}
			if mode != wantMode {
				t.Errorf("answered in mode %v, want the request's", mode)
			}
			if tt.status == 404 && e.Extensions()["causationid"] != "e-1" {
				t.Errorf("causationid is %v", e.Extensions()["causationid"])
			}
		})
	}
	f.do(t, ask{path: "/", header: binary("Ce-Model", "imagenet")}).seen(t)
}

// TestErrorEventKeepsTheTrace checks the attributes of an error event that comes after the model was found.
func TestErrorEvent(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: &fakeBackend{RoundTripFn: func(*http.Request) (*http.Response, error) { return nil, knative.ErrOverloaded }}})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	got := f.do(t, ask{path: "/", header: binary("Ce-Model", "imagenet", "Ce-Traceparent", trace)})
	if got.status != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("status %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
	e, _, text := errorEvent(t, got)
	want := map[string]any{"causationid": "e-1", "traceparent": trace, "model": "imagenet", "modelrevision": "imagenet-00001"}
	if diff := cmp.Diff(want, e.Extensions()); diff != "" || !strings.Contains(text, "queue is full") {
		t.Errorf("%q, extensions (-want +got):\n%s", text, diff)
	}
	if e.ID() == "" || e.ID() == "e-1" || e.Source() != eventSource || e.Time().IsZero() {
		t.Errorf("the event has no identity of its own: %v", e)
	}
}

// TestErrorEventOfAnID: the id that an error event names is percent-encoded in its header.
func TestErrorEventOfAnID(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, echo)})
	got := f.do(t, ask{path: "/", header: binary("Ce-Model", "cats", "Ce-Id", "%C3%BC%201")})
	if id := got.header.Get("Ce-Causationid"); got.status != 404 || id != "%C3%BC%201" {
		t.Errorf("status %d, causationid %q", got.status, id)
	}
}
