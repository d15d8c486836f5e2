package router

import (
	"net/http"
	"strings"

	"weir.dev/weir/router/route"
)

// operation is one operation of the REST surface: the one source of its OpenAPI document.
type operation struct {
	method, path, summary string
	// body are the schemas of the request by content type; empty if it has none.
	body map[string]string
	// answer is the schema of the answer, of the content type JSON; empty for text.
	answer string
	// query are the names of its query parameters.
	query []string
}

// Names of schemas.
const (
	schemaAny        = "Any"
	schemaBinary     = "Binary"
	schemaV1Request  = "PredictRequest"
	schemaV1Answer   = "PredictAnswer"
	schemaExamples   = "ExamplesRequest"
	schemaResults    = "ExamplesAnswer"
	schemaV1Status   = "ModelStatus"
	schemaV2Request  = "InferRequest"
	schemaV2Answer   = "InferAnswer"
	schemaV2Model    = "ModelMetadata"
	schemaEvent      = "CloudEvent"
	schemaEvents     = "CloudEvents"
	schemaError      = "Error"
	contentJSON      = "application/json"
	contentEvent     = "application/cloudevents+json"
	contentEvents    = "application/cloudevents-batch+json"
	contentText      = "text/plain"
	openAPIVersion   = "3.1.0"
	v1, v2           = "/v1/models/{model}", "/v2/models/{model}"
	version          = "/versions/{version}"
	label            = "/labels/{label}"
	imageContentType = "image/*"
)

// operations is the REST surface of a router.
func operations() []operation {
	predict := map[string]string{contentJSON: schemaV1Request, imageContentType: schemaBinary}
	examples, infer := map[string]string{contentJSON: schemaExamples}, map[string]string{contentJSON: schemaV2Request}
	event := map[string]string{contentEvent: schemaEvent, contentEvents: schemaEvents}
	anything := map[string]string{contentJSON: schemaAny}
	ops := []operation{
		{http.MethodGet, "/v1/models", "Every model with its revisions", nil, schemaAny, nil},
		{http.MethodGet, "/v2", "What the server is", nil, schemaAny, nil},
		{http.MethodGet, "/v2/health/live", "Whether the server runs", nil, schemaAny, nil},
		{http.MethodGet, "/v2/health/ready", "Whether the server takes requests", nil, schemaAny, nil},
		{http.MethodGet, "/v2/models", "The models' names", nil, schemaAny, nil},
		{http.MethodGet, pathStatistics, "The statistics of every model that has a replica, as Triton has them", nil, schemaAny, nil},
		{http.MethodPost, "/v2/repository/index", "Every version of every model, as Triton lists them", anything, schemaAny, nil},
		{http.MethodPost, "/v2/repository/models/{model}/load", "Wake a model", anything, schemaAny, nil},
		{http.MethodPost, "/events", "Ask with a CloudEvent: the answer is one, too", event, schemaEvent, nil},
		{http.MethodGet, "/healthz", "Whether the server runs", nil, "", nil},
		{http.MethodGet, "/readyz", "Whether the server takes requests", nil, "", nil},
	}
	for _, at := range []string{"", version, label} {
		ops = append(ops,
			operation{http.MethodGet, v1 + at, "A model's status", nil, schemaV1Status, nil},
			operation{http.MethodGet, v1 + at + "/metadata", "A model's signatures", nil, schemaAny, nil},
			operation{http.MethodPost, v1 + at + ":predict", "Predict, as TensorFlow Serving does, or for an image as it is", predict, schemaV1Answer, nil},
			operation{http.MethodPost, v1 + at + ":classify", "Classify examples", examples, schemaResults, nil},
			operation{http.MethodPost, v1 + at + ":regress", "Regress examples", examples, schemaResults, nil},
		)
	}
	for _, at := range []string{"", version} {
		ops = append(ops,
			operation{http.MethodGet, v2 + at, "A model's tensors", nil, schemaV2Model, []string{"signature_name"}},
			operation{http.MethodGet, v2 + at + "/ready", "Whether a model answers", nil, schemaAny, nil},
			operation{http.MethodGet, v2 + at + "/config", "A model's configuration, as Triton has it", nil, schemaAny, nil},
			operation{http.MethodGet, v2 + at + "/stats", "A replica's statistics, as Triton has them", nil, schemaAny, nil},
			operation{http.MethodPost, v2 + at + "/infer", "Predict by the Open Inference Protocol", infer, schemaV2Answer, nil},
		)
	}
	return ops
}

type object = map[string]any

// openAPI answers the OpenAPI document of the REST surface, with the models that there are.
func (rt *Router) openAPI(w http.ResponseWriter, _ *http.Request) error {
	table, err := rt.routes()
	if err != nil {
		return err
	}
	return writeJSON(w, openAPIDocument(rt.version, table))
}

func openAPIDocument(serverVersion string, table *route.Table) object {
	var names, labels []any
	for _, m := range table.Models() {
		names = append(names, m.Name)
		for _, r := range m.Revisions {
			for _, tag := range r.Tags {
				labels = append(labels, tag)
			}
		}
	}
	paths := object{}
	for _, op := range operations() {
		item, ok := paths[op.path].(object)
		if !ok {
			item = object{}
			paths[op.path] = item
		}
		item[strings.ToLower(op.method)] = op.describe(names, labels)
	}
	return object{
		"openapi": openAPIVersion,
		"info": object{"title": "weir", "version": serverVersion, "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
			"description": "Models by name: TensorFlow Serving's REST API, the Open Inference Protocol, CloudEvents."},
		// Wherever the document came from, and nobody has to say who he is.
		"servers": []object{{"url": "/"}}, "security": []object{},
		"paths": paths, "components": object{"schemas": schemas()},
	}
}

func ref(schema string) object { return object{"$ref": "#/components/schemas/" + schema} }

// describe makes the operation's part of the document.
func (op operation) describe(models, labels []any) object {
	out := object{"operationId": op.id(), "summary": op.summary, "tags": []string{op.tag()}, "responses": op.responses()}
	params := []object{}
	param := func(name, in string, schema object) object {
		p := object{"name": name, "in": in, "required": in == "path", "schema": schema}
		params = append(params, p)
		return p
	}
	for _, p := range []struct {
		name   string
		schema object
	}{{"model", choice(models)}, {"version", object{"type": "integer", "minimum": 0}}, {"label", choice(labels)}} {
		if strings.Contains(op.path, "{"+p.name+"}") {
			param(p.name, "path", p.schema)
		}
	}
	for _, name := range op.query {
		param(name, "query", object{"type": "string"})
	}
	for _, h := range op.headers() {
		param(h.name, "header", object{"type": "string"})["description"] = h.text
	}
	if len(params) > 0 {
		out["parameters"] = params
	}
	if len(op.body) > 0 {
		content := object{}
		for kind, schema := range op.body {
			content[kind] = object{"schema": ref(schema)}
		}
		out["requestBody"] = object{"required": !strings.HasPrefix(op.path, "/v2/repository/"), "content": content}
	}
	return out
}

// tag groups operations by the API that they belong to.
func (op operation) tag() string {
	switch {
	case strings.HasPrefix(op.path, "/v1/"):
		return "TensorFlow Serving"
	case strings.HasPrefix(op.path, "/v2"):
		return "Open Inference Protocol"
	case op.answer == schemaEvent:
		return "CloudEvents"
	}
	return "Health"
}

// id is the operation's name in clients that are made from the document: its method and the path's words.
func (op operation) id() string {
	words := strings.FieldsFunc(op.path, func(r rune) bool { return strings.ContainsRune("/:{}.", r) })
	return strings.ToLower(op.method) + "_" + strings.Join(words, "_")
}

// header is a header of a request that changes what becomes of it.
type header struct{ name, text string }

func (op operation) headers() []header {
	deadline := header{HeaderTimeout, "When the answer is worth nothing any more: 500ms, or seconds"}
	switch {
	case op.answer == schemaEvent:
		return []header{deadline, {"Prefer", "respond-async: 202, and the answer goes to the sink"}}
	case len(op.body) == 0 || !strings.Contains(op.path, "{model}"):
		return nil
	case strings.Contains(op.path, "{version}") || strings.Contains(op.path, "{label}"):
		return []header{deadline}
	}
	return []header{deadline, {HeaderTag, "A revision by its tag"}, {HeaderSession, "Who asks: stays with one revision while the split of the traffic stays"}}
}

// choice is a string, one of those there are.
func choice(values []any) object {
	if len(values) == 0 {
		return object{"type": "string"}
	}
	return object{"type": "string", "enum": values}
}

func (op operation) responses() object {
	content := object{contentText: object{"schema": object{"type": "string"}}}
	if op.answer != "" {
		content = object{contentJSON: object{"schema": ref(op.answer)}}
	}
	failure := object{contentJSON: object{"schema": ref(schemaError)}}
	if op.answer == schemaEvent {
		content = object{contentEvent: object{"schema": ref(schemaEvent)}, contentEvents: object{"schema": ref(schemaEvents)}}
		// What is no event is not answered by one.
		failure = object{contentEvent: object{"schema": ref(schemaEvent)}, contentJSON: object{"schema": ref(schemaError)}}
	}
	out := object{"200": object{"description": "The answer", "content": content}}
	if op.answer == schemaEvent {
		out["202"] = object{"description": "Accepted: the answer goes to the sink"}
	}
	for status, text := range map[string]string{
		"400": "Wrong: the message says what was expected", "404": "No such model, version, label or signature", "405": "Another method is expected",
		"408": "The body did not arrive in time", "413": "Over a limit", "415": "Another content type is expected", "429": "Come again later",
		"502": "The model did not answer", "503": "Not ready or overloaded: come again later", "504": "Over the deadline",
	} {
		out[status] = object{"description": text, "content": failure}
	}
	return out
}

// schemas are the shapes that requests and answers share.
func schemas() object {
	list := func(of object) object { return object{"type": "array", "items": of} }
	text, anything := object{"type": "string"}, object{}
	shape := func(required []string, members object) object {
		return object{"type": "object", "required": required, "properties": members}
	}
	// orNull is for what clients of many languages say by null: it is not given.
	orNull := func(schema object) object { return object{"anyOf": []object{schema, {"type": "null"}}} }
	parameters := orNull(object{"type": "object"})
	tensor := shape([]string{"name", "datatype", "shape"}, object{
		"name": text, "datatype": text, "shape": list(object{"type": "integer"}), "data": list(anything), "parameters": parameters,
	})
	withExample := func(schema, example object) object {
		schema["examples"] = []object{example}
		return schema
	}
	return object{
		schemaAny:    anything,
		schemaBinary: object{"type": "string", "contentMediaType": "application/octet-stream"},
		schemaError:  shape([]string{"error"}, object{"error": text}),
		schemaV1Request: withExample(object{"type": "object", "properties": object{"instances": list(anything), "inputs": anything, "signature_name": text}},
			object{"instances": []float64{1, 2, 5}}),
		schemaV1Answer: object{"type": "object", "properties": object{"predictions": list(anything), "outputs": anything}},
		schemaExamples: object{"type": "object", "required": []string{"examples"}, "properties": object{"examples": list(object{"type": "object"}), "context": object{"type": "object"}, "signature_name": text}},
		schemaResults:  shape([]string{"results"}, object{"results": list(anything)}),
		schemaV1Status: shape([]string{"model_version_status", "name", "ready"}, object{"name": text, "ready": object{"type": "boolean"}, "model_version_status": list(object{"type": "object"})}),
		schemaV2Model:  shape([]string{"name", "versions", "platform", "inputs", "outputs"}, object{"name": text, "versions": list(text), "platform": text, "inputs": list(object{"type": "object"}), "outputs": list(object{"type": "object"})}),
		schemaV2Request: withExample(shape([]string{"inputs"}, object{"id": orNull(text), "inputs": list(tensor), "outputs": orNull(list(object{"type": "object"})), "parameters": parameters}),
			object{"inputs": []object{{"name": "x", "datatype": "FP32", "shape": []int{3}, "data": []float64{1, 2, 5}}}}),
		schemaV2Answer: shape([]string{"model_name", "outputs"}, object{"model_name": text, "model_version": text, "id": text, "outputs": list(tensor)}),
		schemaEvent: withExample(shape([]string{"specversion", "id", "source", "type"}, object{
			"specversion": object{"type": "string", "const": "1.0"}, "id": text, "source": text, "type": text, "datacontenttype": orNull(text), "data": anything, "model": text,
		}), object{"specversion": "1.0", "id": "1", "source": "/openapi", "type": "dev.weir.predict", "model": "half", "datacontenttype": contentJSON,
			"data": object{"instances": []float64{1, 2, 5}}}),
		// What is wrong with one of a batch is said in its answer.
		schemaEvents: list(anything),
	}
}
