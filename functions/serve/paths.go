package serve

import (
	"net/http"
	"strings"

	"weir.dev/weir/internal/triton"
)

// api names one way in; metrics are kept by it.
type api string

const (
	apiNone       api = "none"
	apiLive       api = "live"
	apiReady      api = "ready"
	apiMetrics    api = "metrics"
	apiAlive      api = "alive"
	apiV1List     api = "v1_list"
	apiV1Status   api = "v1_status"
	apiV1Metadata api = "v1_metadata"
	apiV1Predict  api = "v1_predict"
	apiV1Classify api = "v1_classify"
	apiV1Regress  api = "v1_regress"
	apiImage      api = "image"
	apiV2Server   api = "v2_server"
	apiV2Live     api = "v2_live"
	apiV2Ready    api = "v2_ready"
	apiV2Metadata api = "v2_metadata"
	apiV2Model    api = "v2_model_ready"
	apiV2Infer    api = "v2_infer"
	apiV2List     api = "v2_list"
	apiV2Config   api = "v2_config"
	apiV2Stats    api = "v2_statistics"
	apiV2Index    api = "v2_repository_index"
	apiV2Load     api = "v2_repository_load"
	apiV2Unload   api = "v2_repository_unload"
	apiEvents     api = "events"
	// Those of gRPC that predict; its others count as the API of REST that says the same.
	apiRPCInfer    api = "grpc_infer"
	apiRPCPredict  api = "grpc_predict"
	apiRPCClassify api = "grpc_classify"
	apiRPCRegress  api = "grpc_regress"
	apiRPCMulti    api = "grpc_multi_inference"
	apiRPCOther    api = "grpc_other"
)

// predicts reports whether the API runs the model.
func (a api) predicts() bool {
	switch a {
	case apiV1Predict, apiV1Classify, apiV1Regress, apiImage, apiV2Infer, apiEvents,
		apiRPCInfer, apiRPCPredict, apiRPCClassify, apiRPCRegress, apiRPCMulti:
		return true
	}
	return false
}

// target is what a path asks for. Version and label are empty if the path names none.
type target struct {
	api                   api
	model, version, label string
}

// verbs of a V1 path, after the colon.
var verbs = map[string]api{"predict": apiV1Predict, "classify": apiV1Classify, "regress": apiV1Regress}

// fixed paths, without a trailing slash.
var fixed = map[string]api{
	"": apiEvents, "/events": apiEvents, "/healthz": apiLive, "/readyz": apiReady, "/metrics": apiMetrics,
	"/v1/models": apiV1List, "/v2": apiV2Server, "/v2/health/live": apiV2Live, "/v2/health/ready": apiV2Ready,
	"/v2/models": apiV2List, "/v2/models/stats": apiV2Stats, "/v2/repository/index": apiV2Index,
}

// parsePath says what a path asks for; its api is apiNone if no API has such a path.
func parsePath(path string) target {
	path = strings.TrimSuffix(path, "/")
	if a, ok := fixed[path]; ok {
		return target{api: a}
	}
	if rest, ok := strings.CutPrefix(path, "/v1/models/"); ok {
		return parseV1(rest)
	}
	if rest, ok := strings.CutPrefix(path, "/v2/models/"); ok {
		return parseV2(rest)
	}
	if rest, ok := strings.CutPrefix(path, "/v2/repository/models/"); ok {
		return parseRepository(rest)
	}
	return target{api: apiNone}
}

func parseV1(rest string) target {
	t := target{api: apiV1Status}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		a, ok := verbs[rest[i+1:]]
		if !ok {
			return target{api: apiNone}
		}
		t.api, rest = a, rest[:i]
	} else if before, ok := strings.CutSuffix(rest, "/metadata"); ok {
		t.api, rest = apiV1Metadata, before
	}
	if !t.parts(rest, true) {
		return target{api: apiNone}
	}
	return t
}

// suffixes of a V2 path.
var suffixes = map[string]api{"infer": apiV2Infer, "ready": apiV2Model, "config": apiV2Config, "stats": apiV2Stats}

func parseV2(rest string) target {
	t := target{api: apiV2Metadata}
	if i := strings.LastIndexByte(rest, '/'); i >= 0 {
		if a, ok := suffixes[rest[i+1:]]; ok {
			t.api, rest = a, rest[:i]
		}
	}
	if !t.parts(rest, false) {
		return target{api: apiNone}
	}
	return t
}

func parseRepository(rest string) target {
	name, verb, _ := strings.Cut(rest, "/")
	switch {
	case name != "" && verb == "load":
		return target{api: apiV2Load, model: name}
	case name != "" && verb == "unload":
		return target{api: apiV2Unload, model: name}
	}
	return target{api: apiNone}
}

// parts reads MODEL[/versions/V|/labels/L].
func (t *target) parts(rest string, labels bool) bool {
	p := strings.Split(rest, "/")
	t.model = p[0]
	switch {
	case p[0] == "":
		return false
	case len(p) == 1:
		return true
	case len(p) == 3 && p[1] == "versions" && p[2] != "":
		t.version = p[2]
	case len(p) == 3 && p[1] == "labels" && p[2] != "" && labels:
		t.label = p[2]
	default:
		return false
	}
	return true
}

func (s *Server) routes() map[api]route {
	get, post := []string{http.MethodGet, http.MethodHead}, []string{http.MethodPost}
	return map[api]route{
		apiNone:       {serve: serveNone},
		apiLive:       {methods: get, early: true, serve: serveLive},
		apiReady:      {methods: get, serve: serveReady},
		apiMetrics:    {methods: get, early: true, serve: serveMetrics},
		apiAlive:      {methods: get, early: true, serve: serveAlive},
		apiEvents:     {methods: post, serve: serveEvent},
		apiImage:      {methods: post, serve: lease(serveImage)},
		apiV1Predict:  {methods: post, serve: serveV1(apiV1Predict)},
		apiV1Classify: {methods: post, serve: serveV1(apiV1Classify)},
		apiV1Regress:  {methods: post, serve: serveV1(apiV1Regress)},
		apiV1List:     {methods: get, serve: serveV1List},
		apiV1Status:   {methods: get, serve: serveV1Status},
		apiV1Metadata: {methods: get, serve: serveV1Metadata},
		apiV2Server:   {methods: get, serve: serveV2Server},
		apiV2Live:     {methods: get, early: true, serve: serveV2Live},
		apiV2Ready:    {methods: get, serve: serveV2Ready},
		apiV2List:     {methods: get, serve: serveV1List},
		apiV2Metadata: {methods: get, serve: serveV2Metadata},
		apiV2Model:    {methods: get, serve: serveV2Model},
		apiV2Infer:    {methods: post, serve: lease(serveV2Infer)},
		apiV2Config:   {methods: get, serve: serveV2Config},
		apiV2Stats:    {methods: get, serve: serveV2Statistics},
		apiV2Index:    {methods: post, early: true, serve: serveV2Index},
		apiV2Load:     {methods: post, serve: serveV2Load},
		apiV2Unload:   {methods: post, serve: serveV2Unload},
	}
}

// serveNone says which paths there are.
func serveNone(s *Server, _ *state, _ http.ResponseWriter, r *http.Request) error {
	if err := triton.Lacks(r.URL.Path); err != nil {
		return err
	}
	m := s.name
	return statusError(http.StatusNotFound, "no %s here: expected /v1/models/%s[/versions/V|/labels/L][:predict|:classify|:regress|/metadata], "+
		"/v2/models/%s[/versions/V][/infer|/ready|/config|/stats], /v2/repository/index, POST / or /events for CloudEvents, /healthz, /readyz or /metrics", r.URL.Path, m, m)
}
