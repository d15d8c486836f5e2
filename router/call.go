package router

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/hop"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/internal/triton"
	inferencepb "weir.dev/weir/proto/inference"
	_ "weir.dev/weir/proto/serving" // for reflection
)

// callServices are the gRPC services that the router and its models answer together.
var callServices = []string{
	"inference.GRPCInferenceService", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health",
}

// ownCall is a gRPC method that the router answers itself: a new request, and the answer to it.
type ownCall struct {
	request func() proto.Message
	answer  func(ctx context.Context, req proto.Message) (proto.Message, error)
}

func (rt *Router) ownCalls() map[string]ownCall {
	routed := func() bool { return rt.table.Load() != nil }
	const v2 = "/inference.GRPCInferenceService/"
	return map[string]ownCall{
		v2 + "ServerLive": {
			func() proto.Message { return &inferencepb.ServerLiveRequest{} },
			func(context.Context, proto.Message) (proto.Message, error) {
				return &inferencepb.ServerLiveResponse{Live: true}, nil
			},
		},
		v2 + "ServerReady": {
			func() proto.Message { return &inferencepb.ServerReadyRequest{} },
			func(context.Context, proto.Message) (proto.Message, error) {
				return &inferencepb.ServerReadyResponse{Ready: routed()}, nil
			},
		},
		v2 + "ServerMetadata": {
			func() proto.Message { return &inferencepb.ServerMetadataRequest{} },
			func(context.Context, proto.Message) (proto.Message, error) {
				return &inferencepb.ServerMetadataResponse{Name: serverName, Version: rt.version, Extensions: triton.Extensions()}, nil
			},
		},
		v2 + "RepositoryIndex": {
			func() proto.Message { return &inferencepb.RepositoryIndexRequest{} },
			rt.indexCall,
		},
		v2 + "RepositoryModelUnload": {
			func() proto.Message { return &inferencepb.RepositoryModelUnloadRequest{} },
			func(context.Context, proto.Message) (proto.Message, error) { return nil, errUnload },
		},
		"/grpc.health.v1.Health/Check": {
			func() proto.Message { return &healthpb.HealthCheckRequest{} },
			func(_ context.Context, req proto.Message) (proto.Message, error) {
				return health(req.(*healthpb.HealthCheckRequest).GetService(), routed())
			},
		},
	}
}

func health(service string, serving bool) (proto.Message, error) {
	known := service == ""
	for _, name := range callServices {
		known = known || name == service
	}
	switch {
	case !known:
		return nil, &server.Error{Status: http.StatusNotFound, Message: "no service " + strconv.Quote(clip(service)) + ": reflection lists those there are"}
	case serving:
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
}

func (rt *Router) indexCall(_ context.Context, req proto.Message) (proto.Message, error) {
	entries, err := rt.index(req.(*inferencepb.RepositoryIndexRequest).GetReady())
	if err != nil {
		return nil, err
	}
	answer := &inferencepb.RepositoryIndexResponse{}
	for _, e := range entries {
		answer.Models = append(answer.Models, &inferencepb.RepositoryIndexResponse_ModelIndex{Name: e.Name, Version: e.Version, State: e.State, Reason: e.Reason})
	}
	return answer, nil
}

func (own ownCall) serve(w http.ResponseWriter, r *http.Request) error {
	in, err := rpc.NewReader(r, maxOwnCall)
	if err != nil {
		return err
	}
	body, err := in.Single()
	if err != nil {
		return bodyError(r.Context(), err)
	}
	req := own.request()
	return rpc.Answer(w, r, body, req, func() (proto.Message, error) { return own.answer(r.Context(), req) })
}

// serveCall answers a gRPC call, or sends it on to the model that its first message names.
func (rt *Router) serveCall(w http.ResponseWriter, r *http.Request, x *exchange) error {
	if own, ok := rt.calls[r.URL.Path]; ok {
		return own.serve(w, r)
	}
	if rt.reflection.Serves(r.URL.Path) {
		rt.reflection.ServeHTTP(w, r)
		return nil
	}
	where, ok := namesModel[r.URL.Path]
	if !ok {
		if err := triton.Lacks(r.URL.Path); err != nil {
			return err
		}
		return &server.Error{Status: http.StatusNotImplemented, Message: "no gRPC method " + clip(r.URL.Path) + " here: reflection lists those there are"}
	}
	r, done, err := rt.admit(w, r, x)
	if err != nil {
		return err
	}
	defer done()
	name, err := rt.peek(r, where)
	if errors.Is(err, rpc.ErrNoMessage) && r.URL.Path == rpc.StreamPath {
		rpc.NewWriter(w, r).Close()
		return nil
	}
	if err != nil {
		return bodyError(r.Context(), err)
	}
	if name.name == "" && r.URL.Path == callStatistics {
		return ownCall{func() proto.Message { return &inferencepb.ModelStatisticsRequest{} }, rt.statisticsCall}.serve(w, r)
	}
	hints, err := name.hints()
	if err != nil {
		return err
	}
	if err := rt.pick(w, r, x, hints); err != nil {
		return err
	}
	if hints.Tag != "" {
		// The function has to know that the label which the message names means itself.
		r.Header.Set(HeaderTag, hints.Tag)
	}
	return rt.forward(w, r, x)
}

// maxOwnCall bounds a message that the router reads itself.
const maxOwnCall = 64 << 10

// modelField says where a request's first message names its model: in strings of its own, or in a ModelSpec that is
// reached by the numbers of spec.
type modelField struct {
	name, version protowire.Number
	spec          []protowire.Number
}

// namesModel are the methods whose messages name a model.
var namesModel = func() map[string]modelField {
	methods := map[string]modelField{
		"/inference.GRPCInferenceService/RepositoryModelLoad":    {name: 2},
		"/tensorflow.serving.PredictionService/MultiInference":   {spec: []protowire.Number{1, 1}},
		"/tensorflow.serving.ModelService/GetModelStatus":        {spec: []protowire.Number{1}},
		"/tensorflow.serving.PredictionService/Predict":          {spec: []protowire.Number{1}},
		"/tensorflow.serving.PredictionService/Classify":         {spec: []protowire.Number{1}},
		"/tensorflow.serving.PredictionService/Regress":          {spec: []protowire.Number{1}},
		"/tensorflow.serving.PredictionService/GetModelMetadata": {spec: []protowire.Number{1}},
	}
	for _, name := range []string{"ModelReady", "ModelMetadata", "ModelInfer", "ModelStreamInfer", "ModelConfig", "ModelStatistics"} {
		methods["/inference.GRPCInferenceService/"+name] = modelField{name: 1, version: 2}
	}
	return methods
}()

// peek reads as much of the first message as names the model, and puts it back. A short unary call is read to its end, so that
// it can be sent on in one piece, and again if a replica is lost.
func (rt *Router) peek(r *http.Request, where modelField) (found modelName, err error) {
	in, err := rpc.NewReader(r, rt.limits.Body)
	if err != nil {
		return found, err
	}
	short := int64(hop.Short)
	if r.URL.Path == rpc.StreamPath {
		short = 0
	}
	start, err := in.Peek(r.Body, short, func(message []byte, whole bool) (enough bool, err error) {
		found, enough, err = where.find(message, whole)
		return enough, err
	})
	if err != nil {
		return found, err
	}
	r.Body = start.Body
	if start.All != nil {
		r.ContentLength = int64(len(start.All))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(start.All)), nil }
	}
	return found, nil
}
