package serve

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/rpc"
	"weir.dev/weir/internal/triton"
	pb "weir.dev/weir/proto/inference"
)

// inferenceMethods are those of the Open Inference Protocol, and Triton's.
func inferenceMethods() map[string]rpcMethod {
	return map[string]rpcMethod{
		"ServerLive":            unary(apiV2Live, rpcLive).early(),
		"ServerReady":           unary(apiV2Ready, rpcReady).early(),
		"ServerMetadata":        unary(apiV2Server, rpcServer).early(),
		"ModelReady":            unary(apiV2Model, rpcModelReady).early(),
		"ModelMetadata":         unary(apiV2Metadata, rpcMetadata),
		"ModelInfer":            unary(apiRPCInfer, rpcInfer),
		"ModelStreamInfer":      {apiRPCInfer, route{serve: serveStream}},
		"ModelConfig":           unary(apiV2Config, rpcConfig),
		"ModelStatistics":       unary(apiV2Stats, rpcStatistics),
		"RepositoryIndex":       unary(apiV2Index, rpcIndex).early(),
		"RepositoryModelLoad":   unary(apiV2Load, rpcLoad),
		"RepositoryModelUnload": unary(apiV2Unload, rpcUnload),
	}
}

func rpcLive(_ context.Context, _ *Server, st *state, _ *pb.ServerLiveRequest) (proto.Message, error) {
	return &pb.ServerLiveResponse{Live: failed(st) == nil}, nil
}

func rpcReady(_ context.Context, _ *Server, st *state, _ *pb.ServerReadyRequest) (proto.Message, error) {
	return &pb.ServerReadyResponse{Ready: st.err == nil}, nil
}

func rpcServer(_ context.Context, _ *Server, _ *state, _ *pb.ServerMetadataRequest) (proto.Message, error) {
	return &pb.ServerMetadataResponse{Name: serverName, Version: serverVersion(), Extensions: triton.Extensions()}, nil
}

// rpcModelReady answers whether, so that a model that loads is no error.
func rpcModelReady(_ context.Context, s *Server, st *state, req *pb.ModelReadyRequest) (proto.Message, error) {
	if st.err != nil {
		return &pb.ModelReadyResponse{Ready: false}, s.checkName(req.GetName())
	}
	return &pb.ModelReadyResponse{Ready: true}, checkTarget(st, target{model: req.GetName(), version: req.GetVersion()})
}

func rpcMetadata(_ context.Context, _ *Server, st *state, req *pb.ModelMetadataRequest) (proto.Message, error) {
	if err := checkTarget(st, target{model: req.GetName(), version: req.GetVersion()}); err != nil {
		return nil, err
	}
	sig, err := shownSignature(st, "")
	if err != nil {
		return nil, err
	}
	return &pb.ModelMetadataResponse{
		Name: st.meta.Name, Versions: []string{st.version()}, Platform: st.meta.Platform,
		Inputs: rpcSpecs(sig.Inputs), Outputs: rpcSpecs(sig.Outputs),
	}, nil
}

func rpcSpecs(specs []model.TensorSpec) []*pb.ModelMetadataResponse_TensorMetadata {
	out := make([]*pb.ModelMetadataResponse_TensorMetadata, len(specs))
	for i, s := range v2Tensors(specs) {
		out[i] = &pb.ModelMetadataResponse_TensorMetadata{Name: s.Name, Datatype: s.Datatype, Shape: s.Shape}
	}
	return out
}

func rpcInfer(ctx context.Context, s *Server, st *state, req *pb.ModelInferRequest) (proto.Message, error) {
	return s.infer(ctx, st, req)
}

// infer answers one inference request.
func (s *Server) infer(ctx context.Context, st *state, req *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	if err := checkTarget(st, target{model: req.GetModelName(), version: req.GetModelVersion()}); err != nil {
		return nil, err
	}
	in, raw, err := fromRPC(req)
	if err != nil {
		return nil, err
	}
	out, err := s.predictV2(ctx, st, in, true)
	if err != nil {
		return nil, err
	}
	return toRPC(st, in, out, raw)
}

// paramFinal says of an answer of a stream that no other one comes for its request, as Triton's clients of streams may ask.
const paramFinal = "triton_final_response"

// answerOne answers one request of a stream and counts it. What is wrong with the request is told in the answer; an error is the
// stream's own end.
func (s *Server) answerOne(ctx context.Context, st *state, req *pb.ModelInferRequest) (*pb.ModelStreamInferResponse, error) {
	start, status := time.Now(), http.StatusOK
	answer := &pb.ModelStreamInferResponse{}
	var err error
	if answer.InferResponse, err = s.inferOne(ctx, st, req); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		e := translate(err)
		status = e.Status
		answer.ErrorMessage = e.Message
		// The id tells the client which of its requests failed.
		answer.InferResponse = &pb.ModelInferResponse{Id: req.GetId(), ModelName: st.meta.Name, ModelVersion: st.version()}
	}
	s.statistics.observe(status, time.Since(start))
	answer.InferResponse.Parameters = map[string]*pb.InferParameter{paramFinal: {ParameterChoice: &pb.InferParameter_BoolParam{BoolParam: true}}}
	return answer, nil
}

// inferOne is infer of a stream's request, which goes where the stream went.
func (s *Server) inferOne(ctx context.Context, st *state, req *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	if name := req.GetModelName(); name != st.meta.Name {
		return nil, badRequest("this stream goes to model %q, as its first message did: open another one for %q", st.meta.Name, name)
	}
	return s.infer(ctx, st, req)
}

// serveStream answers each request of a stream, in order. An error of one ends neither the stream nor the others.
func serveStream(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	in, err := rpc.NewReader(r, s.limits.Body)
	if err != nil {
		return err
	}
	out := rpc.NewWriter(w, r)
	// The client may wait for the header before it sends.
	_ = out.Flush()
	for {
		ended := false
		body, err := receive(w, r, s.limits.Pause, func() ([]byte, error) {
			body, err := in.Next()
			if ended = errors.Is(err, io.EOF); ended {
				return nil, nil
			}
			return body, err
		})
		if err != nil {
			return err
		}
		if ended {
			out.Close()
			return nil
		}
		var req pb.ModelInferRequest
		if err := rpc.Unmarshal(body, &req); err != nil {
			return err
		}
		answer, err := s.answerOne(r.Context(), st, &req)
		if err != nil {
			return err
		}
		if err := out.Send(answer); err != nil {
			return err
		}
		_ = out.Flush()
	}
}
