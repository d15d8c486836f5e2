package serve

import (
	"context"
	"net/http"
	"slices"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/triton"
)

// rpcMethod is how one gRPC method is served, and the API that it counts as.
type rpcMethod struct {
	api   api
	route route
}

// message is a pointer to a message of type T.
type message[T any] interface {
	*T
	proto.Message
}

// unary makes a method of a function that answers one message with one.
func unary[T any, P message[T]](a api, call func(ctx context.Context, s *Server, st *state, req P) (proto.Message, error)) rpcMethod {
	return rpcMethod{api: a, route: route{serve: func(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
		in, err := rpc.NewReader(r, s.limits.Body)
		if err != nil {
			return err
		}
		body, err := receive(w, r, s.limits.Read, in.Single)
		if err != nil {
			return err
		}
		req := P(new(T))
		return rpc.Answer(w, r, body, req, func() (proto.Message, error) { return call(r.Context(), s, st, req) })
	}}}
}

// early lets a method be served before there is a model.
func (m rpcMethod) early() rpcMethod {
	m.route.early = true
	return m
}

// rpcRoutes are the gRPC methods by their paths.
func rpcRoutes() map[string]rpcMethod {
	routes := map[string]rpcMethod{}
	for service, methods := range map[string]map[string]rpcMethod{
		"inference.GRPCInferenceService":       inferenceMethods(),
		"tensorflow.serving.PredictionService": predictionMethods(),
		"tensorflow.serving.ModelService":      {"GetModelStatus": unary(apiV1Status, rpcStatus)},
		// Without Watch: a stream that never ends would keep its replica from ever being idle. The protocol allows that.
		"grpc.health.v1.Health": {"Check": unary(apiReady, rpcHealth).early()},
	} {
		for name, m := range methods {
			routes["/"+service+"/"+name] = m
		}
	}
	return routes
}

// rpcServices are the gRPC services of a function.
var rpcServices = []string{
	"inference.GRPCInferenceService", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health",
}

// serveOtherRPC answers reflection, and says what does not exist.
func serveOtherRPC(s *Server, _ *state, w http.ResponseWriter, r *http.Request) error {
	if err := triton.Lacks(r.URL.Path); err != nil {
		return err
	}
	if !s.reflection.Serves(r.URL.Path) {
		return statusError(http.StatusNotImplemented, "no gRPC method %s here: reflection lists those there are", r.URL.Path)
	}
	s.reflection.ServeHTTP(w, r)
	return nil
}

func rpcHealth(_ context.Context, _ *Server, st *state, req *healthpb.HealthCheckRequest) (proto.Message, error) {
	if name := req.GetService(); name != "" && !slices.Contains(rpcServices, name) {
		return nil, model.Errorf(model.NotFound, "no service %q: there is %s", name, orNone(rpcServices))
	}
	status := healthpb.HealthCheckResponse_SERVING
	if st.err != nil {
		status = healthpb.HealthCheckResponse_NOT_SERVING
	}
	return &healthpb.HealthCheckResponse{Status: status}, nil
}
