package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// bad is a request that is wrong, and what its answer must say.
type bad struct {
	name   string
	call   call
	status int
	want   string
}

// testBad sends each bad request and then a good one: the answer has the right status and says what was expected, and
// the server goes on.
func testBad(t *testing.T, good call, tests []bad) {
	t.Helper()
	if len(tests) < 30 {
		t.Errorf("only %d malformed requests", len(tests))
	}
	h := toyServer(t).Handler()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.call.do(t, h)
			var answer struct {
				Error string
				Data  struct{ Error string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("status %d, no JSON: %v: %s", w.Code, err, w.Body)
			}
			got := answer.Error + answer.Data.Error
			if w.Code != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("status %d, want %d; error %q, want %q in it", w.Code, tt.status, got, tt.want)
			}
			if strings.Contains(got, "panic") || strings.Contains(got, ".go") {
				t.Errorf("internals in %q", got)
			}
			if w := good.do(t, h); w.Code != http.StatusOK {
				t.Fatalf("the next good request: status %d: %s", w.Code, w.Body)
			}
		})
	}
}

func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func TestV1PredictMalformed(t *testing.T) {
	t.Parallel()
	const path = "/v1/models/toy:predict"
	post := func(body string) call { return call{path: path, body: body} }
	sig := func(name, members string) call {
		return post(`{"signature_name":"` + name + `",` + members + `}`)
	}
	good := post(`{"instances":[[1,2,3]]}`)
	testBad(t, good, []bad{
		{"empty body", post(``), 400, `expected an object with "instances" or "inputs"`},
		{"not an object", post(`[1]`), 400, "expected an object"},
		{"truncated", post(`{"instances":[[1,2`), 400, "ends inside"},
		{"truncated after a key", post(`{"instances"`), 400, "expected ':'"},
		{"truncated string", post(`{"instances":["a`), 400, "ends inside"},
		{"trailing data", post(`{"instances":[[1,2,3]]}x`), 400, "after the request"},
		{"two documents", post(`{"instances":[[1,2,3]]}{}`), 400, "after the request"},
		{"neither", post(`{"foo":1}`), 400, "got neither"},
		{"both", post(`{"instances":[[1,2,3]],"inputs":[[1,2,3]]}`), 400, "got both"},
		{"duplicate instances", post(`{"instances":[[1,2,3]],"instances":[[1,2,3]]}`), 400, "given twice"},
		{"duplicate signature_name", post(`{"signature_name":"any","signature_name":"any","inputs":1}`), 400, "given twice"},
		{"signature_name is a number", post(`{"signature_name":1,"instances":[[1,2,3]]}`), 400, "expected a string"},
		{"unknown signature", sig("nope", `"inputs":1`), 404, `has no signature "nope"`},
		{"instances is an object", post(`{"instances":{"x":1}}`), 400, "expected a list, got an object"},
		{"instances is null", post(`{"instances":null}`), 400, "expected a list, got null"},
		{"empty instances", post(`{"instances":[]}`), 400, "at least one"},
		{"too many instances", post(`{"instances":[` + strings.Repeat("[1,2,3],", 10) + `[1,2,3]]}`), 413, "limit of 10 instances"},
		{"too many in a column", post(`{"inputs":[` + strings.Repeat("[1,2,3],", 10) + `[1,2,3]]}`), 413, "limit of 10 instances"},
		{"ragged", post(`{"instances":[[1,2,3],[1,2]]}`), 400, "instances[1]: the list has 2 elements, expected 3"},
		{"ragged deep down", sig("any", `"inputs":[[[1,2],[3,4]],[[1,2],[3]]]`), 400, "inputs[1][1]: the list has 1 elements, expected 2"},
		{"a value among lists", post(`{"instances":[[1,2,3],4]}`), 400, "instances[1]: expected a list, got 4"},
		{"a list among values", post(`{"instances":[[1,[2],3]]}`), 400, "instances[0][1]: expected FP32, got a list"},
		{"wrong last dimension", post(`{"instances":[[1,2]]}`), 400, "shape [1 2], expected [-1 3]"},
		{"wrong rank", post(`{"instances":[1,2]}`), 400, "expected [-1 3]"},
		{"wrong rank, scalar", post(`{"inputs":1}`), 400, "expected [-1 3]"},
		{"a string for a float", post(`{"instances":[[1,"2",3]]}`), 400, "instances[0][1]: expected a number (FP32), got a string"},
		{"null for a float", post(`{"instances":[[1,null,3]]}`), 400, "instances[0][1]: expected a number (FP32), got null"},
		{"true for a float", post(`{"instances":[[1,true,3]]}`), 400, "expected a number (FP32), got true"},
		{"an object for a float", post(`{"instances":[[1,{},3]]}`), 400, "expected a number (FP32), got an object"},
		{"1.5 for an integer", sig("int64", `"inputs":[1.5]`), 400, "inputs[0]: 1.5 is no INT64"},
		{"1e3 for an integer", sig("int64", `"inputs":[1e3]`), 400, "1e3 is no INT64"},
		{"int8 overflow", sig("int8", `"inputs":[0,128]`), 400, "inputs[1]: 128 is no INT8"},
		{"negative for unsigned", sig("uint8", `"inputs":[-1]`), 400, "-1 is no UINT8"},
		{"int64 overflow", sig("int64", `"inputs":[9223372036854775808]`), 400, "is no INT64"},
		{"uint64 overflow", sig("uint64", `"inputs":[18446744073709551616]`), 400, "is no UINT64"},
		{"NaN for an integer", sig("int64", `"inputs":[NaN]`), 400, "NaN is no INT64"},
		{"huge number", post(`{"instances":[[1,1e999,3]]}`), 400, "instances[0][1]: 1e999 is no FP32"},
		{"a double for a float", post(`{"instances":[[1,1e39,3]]}`), 400, "1e39 is no FP32"},
		{"huge double", sig("any", `"inputs":-1e400`), 400, "-1e400 is no FP64"},
		{"half overflow", sig("fp16", `"inputs":[65520]`), 400, "65520 is no FP16"},
		{"1 for a boolean", sig("bool", `"inputs":[1]`), 400, "expected true or false, got 1"},
		{"a number for a string", sig("bytes", `"instances":[1]`), 400, "expected a string"},
		{"bad base64", sig("bytes", `"instances":[{"b64":"!!"}]`), 400, "invalid base64"},
		{"base64 with other members", sig("bytes", `"inputs":[{"b64":"YQ==","x":1}]`), 400, "an object of another form"},
		{"base64 of a number", sig("bytes", `"inputs":[{"b64":1}]`), 400, "an object of another form"},
		{"invalid UTF-8", sig("bytes", `"inputs":["`+"\xff"+`"]`), 400, "UTF-8"},
		{"control character", sig("bytes", `"inputs":["`+"\x01"+`"]`), 400, "control character"},
		{"invalid escape", sig("bytes", `"inputs":["\x"]`), 400, "escape"},
		{"leading zero", post(`{"instances":[[01,2,3]]}`), 400, "begins with 0"},
		{"plus sign", post(`{"instances":[[+1,2,3]]}`), 400, "expected a value"},
		{"no digit after the point", post(`{"instances":[[1.,2,3]]}`), 400, "no digit after its point"},
		{"no digit in the exponent", post(`{"instances":[[1e,2,3]]}`), 400, "exponent"},
		{"comma at the end", post(`{"instances":[[1,2,3,]]}`), 400, "after the comma"},
		{"no comma", post(`{"instances":[[1 2 3]]}`), 400, "expected a comma"},
		{"brackets that do not match", post(`{"instances":[[1,2,3}]}`), 400, "expected a comma"},
		{"deep nesting", post(`{"instances":` + deep(1000) + `}`), 400, "nested deeper than 16"},
		{"deep nesting in an unknown member", post(`{"foo":` + deep(1000) + `,"instances":[[1,2,3]]}`), 400, "nested deeper than 16"},
		{"unknown input", post(`{"instances":[{"y":[1,2,3]}]}`), 400, `unknown input "y": signature "serving_default" takes "x"`},
		{"unknown input in a column", post(`{"inputs":{"y":[1,2,3]}}`), 400, `unknown input "y"`},
		{"missing input", sig("two", `"instances":[{"a":1}]`), 400, `missing input "b"`},
		{"missing input in a column", sig("two", `"inputs":{"a":[1]}`), 400, `missing input "b"`},
		{"duplicate input", post(`{"instances":[{"x":[1,2,3],"x":[1,2,3]}]}`), 400, "given twice"},
		{"plain values for several inputs", sig("two", `"instances":[1]`), 400, `expected an object with the inputs "a", "b"`},
		{"plain column for several inputs", sig("two", `"inputs":[1]`), 400, `expected an object with "a", "b"`},
		{"a value after objects", post(`{"instances":[{"x":[1,2,3]},[1,2,3]]}`), 400, "instances[1]: expected an object"},
		{"an object after values", post(`{"instances":[[1,2,3],{"x":[1,2,3]}]}`), 400, "instances[1]: expected a value"},
		{"one ragged input among rows", sig("two", `"instances":[{"a":1,"b":"x"},{"a":[1],"b":"x"}]`), 400, "instances[1].a: expected INT32, got a list"},
		{"no rows in the answer", sig("any", `"inputs":`), 400, "expected a value"},
		{"a key that is no string", post(`{instances:[[1,2,3]]}`), 400, `expected '"'`},
		{"a broken member that is not used", post(`{"instances":[[1,2,3]],"context":[}]}`), 400, "JSON parse error"},
		{"unknown model", call{path: "/v1/models/nope:predict", body: good.body}, 404, `model "nope" not found: this server has "toy"`},
		{"unknown version", call{path: "/v1/models/toy/versions/4:predict", body: good.body}, 404, "no version 4: it has 3"},
		{"a version that is no number", call{path: "/v1/models/toy/versions/x:predict", body: good.body}, 400, "is no number"},
		{"unknown label", call{path: "/v1/models/toy/labels/nope:predict", body: good.body}, 404, `no version label "nope"`},
		{"unknown verb", call{path: "/v1/models/toy:explain", body: good.body}, 404, ":predict|:classify|:regress"},
		{"shared memory", call{method: http.MethodGet, path: "/v2/systemsharedmemory/status"}, 501, "shared memory is not supported"},
		{"Triton's trace settings", call{method: http.MethodGet, path: "/v2/models/toy/trace/setting"}, 501, "trace settings are not supported"},
		{"wrong method", call{method: http.MethodGet, path: path}, 405, "expected POST"},
		{"delete", call{method: http.MethodDelete, path: path}, 405, "expected POST"},
		{"content type", call{path: path, header: map[string]string{"Content-Type": "application/xml"}, body: good.body}, 415, "expected application/json"},
		{"content encoding", call{path: path, header: map[string]string{"Content-Encoding": "br"}, body: good.body}, 415, "expected gzip, deflate or none"},
		{"broken gzip", call{path: path, header: map[string]string{"Content-Encoding": "gzip"}, body: good.body}, 400, "no valid gzip"},
		{"oversized body", post(`{"foo":"` + strings.Repeat("a", 1<<16) + `"}`), 413, "limit of 65536 bytes"},
		{"timeout is no duration", call{path: path, header: map[string]string{"X-Weir-Timeout": "soon"}, body: good.body}, 400, "expected a duration"},
		{"timeout is negative", call{path: path, header: map[string]string{"X-Weir-Timeout": "-1s"}, body: good.body}, 400, "more than zero"},
	})
}

func TestV1ExamplesMalformed(t *testing.T) {
	t.Parallel()
	post := func(body string) call { return call{path: "/v1/models/toy:classify", body: body} }
	sig := func(members string) call { return post(`{"signature_name":"classify",` + members + `}`) }
	testBad(t, sig(`"examples":[{"x":1}]`), []bad{
		{"empty body", post(``), 400, "expected an object"},
		{"not an object", post(`"examples"`), 400, "expected an object"},
		{"truncated", sig(`"examples":[{"x":1}`), 400, "expected a comma"},
		{"trailing data", post(`{"signature_name":"classify","examples":[{"x":1}]}]`), 400, "after the request"},
		{"no examples", sig(`"foo":1`), 400, `expected "examples"`},
		{"instances instead", sig(`"instances":[{"x":1}]`), 400, `expected "examples"`},
		{"examples is an object", sig(`"examples":{"x":1}`), 400, "expected a list, got an object"},
		{"examples is null", sig(`"examples":null`), 400, "expected a list, got null"},
		{"empty examples", sig(`"examples":[]`), 400, "at least one"},
		{"too many examples", sig(`"examples":[` + strings.Repeat(`{},`, 10) + `{}]`), 413, "limit of 10"},
		{"an example is a list", sig(`"examples":[[1]]`), 400, "examples[0]: expected an object of features, got a list"},
		{"an example is a number", sig(`"examples":[{"x":1},2]`), 400, "examples[1]: expected an object"},
		{"duplicate examples", sig(`"examples":[{"x":1}],"examples":[{"x":1}]`), 400, "given twice"},
		{"duplicate context", sig(`"context":{},"context":{},"examples":[{"x":1}]`), 400, "given twice"},
		{"context is a list", sig(`"context":[],"examples":[{"x":1}]`), 400, "context: expected an object"},
		{"bad feature in the context", sig(`"context":{"c":null},"examples":[{"x":1}]`), 400, `context: feature "c"`},
		{"duplicate feature", sig(`"examples":[{"x":1,"x":2}]`), 400, `feature "x" is given twice`},
		{"a broken member that is not used", sig(`"examples":[{"x":1}],"inputs":[1}]`), 400, "JSON parse error"},
		{"null feature", sig(`"examples":[{"x":null}]`), 400, "expected numbers or strings, got null"},
		{"nested list", sig(`"examples":[{"x":[[1]]}]`), 400, "expected numbers or strings, got a list"},
		{"object feature", sig(`"examples":[{"x":{"y":1}}]`), 400, "expected numbers or strings, got an object"},
		{"mixed kinds", sig(`"examples":[{"x":[1,"a"]}]`), 400, "mixes integers and strings"},
		{"integers and floats", sig(`"examples":[{"x":[1.0,2]}]`), 400, "mixes numbers with a point and integers"},
		{"int64 overflow", sig(`"examples":[{"x":9223372036854775808}]`), 400, "is no INT64"},
		{"huge number", sig(`"examples":[{"x":1e999}]`), 400, "1e999 is no FP32"},
		{"bad base64", sig(`"examples":[{"x":{"b64":"!"}}]`), 400, "invalid base64"},
		{"invalid UTF-8", sig(`"examples":[{"x":"` + "\xff" + `"}]`), 400, "UTF-8"},
		{"deep nesting", sig(`"examples":[{"x":` + deep(1000) + `}]`), 400, "expected numbers or strings"},
		{"leading zero", sig(`"examples":[{"x":01}]`), 400, "begins with 0"},
		{"unknown signature", post(`{"signature_name":"nope","examples":[{"x":1}]}`), 404, `no signature "nope"`},
		{"default signature predicts", post(`{"examples":[{"x":1}]}`), 400, "expected \"tensorflow/serving/classify\""},
		{"regress on classify", call{path: "/v1/models/toy:regress", body: `{"signature_name":"classify","examples":[{"x":1}]}`}, 400, `expected "tensorflow/serving/regress"`},
		{"an image", call{path: "/v1/models/toy:classify", header: map[string]string{"Content-Type": "image/jpeg"}, body: "x"}, 415, "expected application/json"},
		{"unknown model", call{path: "/v1/models/nope:classify", body: "{}"}, 404, "not found"},
		{"unknown version", call{path: "/v1/models/toy/versions/9:regress", body: "{}"}, 404, "no version 9"},
		{"wrong method", call{method: http.MethodPut, path: "/v1/models/toy:classify"}, 405, "expected POST"},
		{"oversized body", sig(`"examples":"` + strings.Repeat("a", 1<<16) + `"`), 413, "limit of 65536 bytes"},
	})
}
