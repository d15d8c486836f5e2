package serve

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

func TestEventsMalformed(t *testing.T) {
	t.Parallel()
	const rows = `{"instances":[[1,2,3]]}`
	binary := func(body string, more ...string) call {
		return call{path: "/", header: eventHeader(more...), body: body}
	}
	whole := func(body string) call { return call{path: "/events", header: maps.Clone(structured), body: body} }
	event := func(members string) call {
		return whole(`{"specversion":"1.0","id":"1","source":"/t","type":"t",` + members + `}`)
	}
	method := func(m string) call { c := binary(rows); c.method = m; return c }
	testBad(t, binary(rows), []bad{
		{"no event", call{path: "/", body: rows}, 400, "expected a CloudEvent"},
		{"no event, an image", call{path: "/", header: map[string]string{"Content-Type": "image/jpeg"}, body: "x"}, 400, "expected a CloudEvent"},
		{"no specversion", binary(rows, "Ce-Specversion", ""), 400, "expected a CloudEvent"},
		{"unknown specversion", binary(rows, "Ce-Specversion", "9.9"), 400, `specversion is "9.9", expected 1.0`},
		{"the specversion before", binary(rows, "Ce-Specversion", "0.3"), 400, `specversion is "0.3", expected 1.0`},
		{"no id", binary(rows, "Ce-Id", ""), 400, "id: MUST be a non-empty string"},
		{"no source", binary(rows, "Ce-Source", ""), 400, "source: "},
		{"no type", binary(rows, "Ce-Type", ""), 400, "type: MUST be a non-empty string"},
		{"time is no time", binary(rows, "Ce-Time", "yesterday"), 400, "invalid CloudEvent"},
		{"a prediction", binary(rows, "Ce-Type", TypePrediction), 400, "would make a loop"},
		{"an error", binary(rows, "Ce-Type", TypeError), 400, "would make a loop"},
		{"unknown model", binary(rows, "Ce-Model", "nope"), 404, `model "nope" not found: this server has "toy"`},
		{"unknown version", binary(rows, "Ce-Modelversion", "4"), 404, "no version 4"},
		{"version is no number", binary(rows, "Ce-Modelversion", "new"), 400, "is no number"},
		{"unknown tag", binary(rows, "Ce-Modeltag", "nope"), 404, `no tag "nope"`},
		{"no data", binary(""), 400, "the event has no data"},
		{"empty image", binary("", "Content-Type", "image/png"), 400, "expected an image"},
		{"broken image", binary("broken", "Content-Type", "image/png"), 400, "expected JPEG"},
		{"WebP", binary("x", "Content-Type", "image/webp"), 415, `"image/png"`},
		{"XML", binary("<x/>", "Content-Type", "application/xml"), 415, "expected application/json"},
		{"content type is garbage", binary(rows, "Content-Type", "a/b/c"), 400, "datacontenttype"},
		{"truncated data", binary(`{"instances":[[1,2`), 400, "ends inside"},
		{"data is a list", binary(`[1]`), 400, "expected an object"},
		{"neither form", binary(`{"foo":1}`), 400, "got neither"},
		{"both forms", binary(`{"instances":[1],"inputs":[1]}`), 400, "got both"},
		{"empty instances", binary(`{"instances":[]}`), 400, "at least one"},
		{"wrong shape", binary(`{"instances":[[1,2]]}`), 400, "expected [-1 3]"},
		{"wrong type", binary(`{"instances":[["a",1,2]]}`), 400, "expected a number (FP32)"},
		{"huge number", binary(`{"instances":[[1e999,1,2]]}`), 400, "is no FP32"},
		{"deep nesting", binary(`{"instances":` + deep(1000) + `}`), 400, "nested deeper"},
		{"V2 without data", binary(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32"}]}`), 400, "expected data"},
		{"V2 with a wrong shape", binary(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1]}]}`), 400, "needs 3 elements"},
		{"V2 with binary data", binary(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","parameters":{"binary_data_size":12}}]}`), 400, "binary_data_size is 12"},
		{"V2 unknown datatype", binary(`{"inputs":[{"name":"x","shape":[1,3],"datatype":"F","data":[1]}]}`), 400, "unknown datatype"},
		{"examples for a predict signature", binary(`{"examples":[{"x":1}]}`), 400, "tensorflow/serving/classify"},
		{"oversized", binary(`{"foo":"` + strings.Repeat("a", 1<<16) + `"}`), 413, "limit of 65536 bytes"},
		{"structured: empty", whole(""), 400, "expected a CloudEvent as an object"},
		{"structured: a list", whole("[]"), 400, "expected a CloudEvent as an object"},
		{"structured: truncated", whole(`{"specversion":"1.0","id":"1"`), 400, "JSON parse error"},
		{"structured: trailing data", whole(`{"specversion":"1.0","id":"1","source":"/t","type":"t","data":` + rows + `}x`), 400, "after the request"},
		{"structured: no specversion", whole(`{"id":"1","source":"/t","type":"t","data":` + rows + `}`), 400, "specversion"},
		{"structured: the specversion before", whole(`{"specversion":"0.3","id":"1","source":"/t","type":"t","data":` + rows + `}`), 400, `specversion is "0.3", expected 1.0`},
		{"structured: specversion is a number", whole(`{"specversion":1,"id":"1","source":"/t","type":"t","data":` + rows + `}`), 400, "CloudEvent"},
		{"structured: no id", whole(`{"specversion":"1.0","source":"/t","type":"t","data":` + rows + `}`), 400, "id: MUST be"},
		{"structured: id is a number", whole(`{"specversion":"1.0","id":1,"source":"/t","type":"t","data":` + rows + `}`), 400, "CloudEvent"},
		{"structured: duplicate id", event(`"id":"2","data":` + rows), 400, `"id" is given twice`},
		{"structured: deep nesting", event(`"data":` + deep(1000)), 400, "nested deeper"},
		{"structured: NaN in V2's answer", event(`"data":{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[null,1,2]}]}`), 400, "in binary mode"},
		{"structured: NaN", event(`"data":{"instances":[[NaN,1,2]]}`), 400, "NaN is not JSON"},
		{"structured: data is a string", event(`"data":"x"`), 400, "expected an object"},
		{"structured: no data", event(`"subject":"s"`), 400, "no data"},
		{"structured: bad base64", event(`"datacontenttype":"image/png","data_base64":"!"`), 400, "CloudEvent"},
		{"structured: a prediction", whole(`{"specversion":"1.0","id":"1","source":"/t","type":"dev.weir.prediction","data":` + rows + `}`), 400, "would make a loop"},
		{"structured: unknown model", event(`"model":"nope","data":` + rows), 404, "not found"},
		{"structured: version is an integer", event(`"modelversion":4,"data":` + rows), 404, "no version 4"},
		{"a batch that is no list", call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents-batch+json"}, body: "{}"}, 400, "expected a list of CloudEvents"},
		{"a batch cut short", call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents-batch+json"}, body: "[{}"}, 400, "JSON parse error"},
		{"too many in a batch", call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents-batch+json"}, body: "[1,2,3,4,5,6,7,8,9,10,11]"}, 413, "limit of 10 instances"},
		{"a batch in another format", call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents-batch+avro"}, body: "[]"}, 415, "is not supported: expected application/cloudevents+json"},
		{"unknown format", call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents+avro"}, body: "x"}, 415, "expected application/cloudevents+json"},
		{"get", call{method: http.MethodGet, path: "/events"}, 405, "expected POST"},
		{"put", method(http.MethodPut), 405, "expected POST"},
	})
}
