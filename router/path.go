package router

import (
	"net/http"
	"strconv"
	"strings"

	"weir.dev/weir/internal/server"
)

// call is what a path of the prediction APIs asks for.
type call struct {
	model   string
	version int64  // 0 if the path names none
	label   string // empty if the path names none
	// forward is the path for the function if it is not the request's own: functions know no labels.
	forward string
	methods []string
}

var (
	reads  = []string{http.MethodGet, http.MethodHead}
	writes = []string{http.MethodPost}
)

const (
	prefixV1 = "/v1/models/"
	prefixV2 = "/v2/models/"
	// prefixRepository is of Triton's load and unload.
	prefixRepository = "/v2/repository/models/"
)

// parsePath reads the paths of models: of V1 (TensorFlow Serving) and V2 (Open Inference Protocol). ok is false if it is
// no such path, so that a request which no function would answer does not start one.
func parsePath(path string) (c call, ok bool, err error) {
	var rest string
	switch {
	case trimSlash(path) == pathStatistics:
	case strings.HasPrefix(path, prefixRepository):
		return parseRepository(path[len(prefixRepository):])
	case strings.HasPrefix(path, prefixV1):
		rest, ok = c.suffixV1(strings.TrimSuffix(path[len(prefixV1):], "/"))
	case strings.HasPrefix(path, prefixV2):
		rest, ok = c.suffixV2(strings.TrimSuffix(path[len(prefixV2):], "/"))
	}
	if !ok {
		return call{}, false, nil
	}
	model, rest, _ := strings.Cut(rest, "/")
	kind, name, named := strings.Cut(rest, "/")
	switch {
	case model == "" || rest != "" && !named || strings.Contains(name, "/"):
		return call{}, false, nil
	case rest == "":
	case kind == "versions":
		if c.version, err = parseVersion(name); err != nil {
			return call{}, true, err
		}
	case kind == "labels" && name != "" && path[1:3] == "v1":
		c.label = clip(name)
		c.forward = prefixV1 + model + path[len(prefixV1)+len(model)+len("/labels/")+len(name):]
	default:
		return call{}, false, nil
	}
	c.model = clip(model)
	return c, true, nil
}

// suffixV1 cuts the verb or /metadata off.
func (c *call) suffixV1(rest string) (string, bool) {
	c.methods = reads
	if before, ok := strings.CutSuffix(rest, "/metadata"); ok {
		return before, true
	}
	before, verb, ok := strings.Cut(rest, ":")
	if !ok {
		return rest, true
	}
	c.methods = writes
	return before, verb == "predict" || verb == "classify" || verb == "regress"
}

// suffixV2 cuts what is asked of a model off.
func (c *call) suffixV2(rest string) (string, bool) {
	c.methods = reads
	if before, ok := strings.CutSuffix(rest, "/infer"); ok {
		c.methods = writes
		return before, true
	}
	for _, suffix := range []string{"/ready", "/config", "/stats"} {
		if before, ok := strings.CutSuffix(rest, suffix); ok {
			return before, true
		}
	}
	return rest, true
}

// parseRepository reads MODEL/load, which asks the model and so wakes it, and MODEL/unload.
func parseRepository(rest string) (c call, ok bool, err error) {
	name, verb, _ := strings.Cut(rest, "/")
	c = call{model: clip(name), methods: writes}
	switch {
	case name == "" || verb != "load" && verb != "unload":
		return call{}, false, nil
	case verb == "unload":
		return c, true, errUnload
	}
	return c, true, nil
}

// parseVersion reads a version's number. 0 is the latest: so OpenVINO Model Server has it, and its client says nothing else
// unless it is told to.
func parseVersion(text string) (int64, error) {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 {
		return 0, &server.Error{Status: http.StatusBadRequest, Message: "version " + strconv.Quote(clip(text)) + " is not a whole number: 1 and up, or 0 for the latest"}
	}
	return v, nil
}

// clip keeps a name that cannot be one, since it is longer than any, from filling the answer and the log.
func clip(name string) string {
	const longest = 63
	if len(name) <= longest {
		return name
	}
	return strings.ToValidUTF8(name[:longest], "") + "…"
}
