package serve

import (
	"context"
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	pb "weir.dev/weir/proto/inference"
)

// Triton's extensions of the Open Inference Protocol, as far as they mean something here: a function's repository is
// its one model.

// modelConfig is Triton's model configuration. If every input's first dimension may vary, it is the batch's and left out.
func modelConfig(s *Server, st *state) (*pb.ModelConfig, error) {
	sig, err := shownSignature(st, "")
	if err != nil {
		return nil, err
	}
	c := &pb.ModelConfig{Name: st.meta.Name, Platform: st.meta.Platform, Backend: "tensorflow"}
	batched := len(sig.Inputs) > 0
	for _, specs := range [][]model.TensorSpec{sig.Inputs, sig.Outputs} {
		for _, t := range specs {
			batched = batched && t.Batched()
		}
	}
	if batched {
		c.MaxBatchSize = int32(s.limits.Instances)
	}
	for _, t := range sig.Inputs {
		dims, reshape := tritonShape(t, batched)
		c.Input = append(c.Input, &pb.ModelInput{Name: t.Name, DataType: tritonType(t.DType), Dims: dims, Reshape: reshape})
	}
	for _, t := range sig.Outputs {
		dims, reshape := tritonShape(t, batched)
		c.Output = append(c.Output, &pb.ModelOutput{Name: t.Name, DataType: tritonType(t.DType), Dims: dims, Reshape: reshape})
	}
	return c, nil
}

// tritonShape is a tensor's shape without the batch's dimension. Triton's dims are never empty: a number for each row, or
// one for all, has the dims 1 and a reshape to none, and PyTriton's client takes nothing else.
func tritonShape(t model.TensorSpec, batched bool) ([]int64, *pb.ModelTensorReshape) {
	dims := t.Shape
	switch {
	case t.AnyRank:
		return []int64{-1}, nil
	case batched:
		dims = dims[1:]
	}
	if len(dims) == 0 {
		return []int64{1}, &pb.ModelTensorReshape{}
	}
	return dims, nil
}

func tritonType(d model.DType) pb.DataType {
	if d == model.Bytes {
		return pb.DataType_TYPE_STRING
	}
	return pb.DataType(pb.DataType_value["TYPE_"+d.String()])
}

func rpcConfig(_ context.Context, s *Server, st *state, req *pb.ModelConfigRequest) (proto.Message, error) {
	if err := checkTarget(st, target{model: req.GetName(), version: req.GetVersion()}); err != nil {
		return nil, err
	}
	c, err := modelConfig(s, st)
	return &pb.ModelConfigResponse{Config: c}, err
}

type v2Config struct {
	Name         string         `json:"name"`
	Platform     string         `json:"platform"`
	Backend      string         `json:"backend"`
	MaxBatchSize int32          `json:"max_batch_size"`
	Input        []v2ConfigPort `json:"input"`
	Output       []v2ConfigPort `json:"output"`
}

type v2ConfigPort struct {
	Name     string  `json:"name"`
	DataType string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
	// Reshape is what Dims are within the model, if something else.
	Reshape *v2ConfigReshape `json:"reshape,omitempty"`
}

type v2ConfigReshape struct {
	Shape []int64 `json:"shape"`
}

func serveV2Config(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	if err := checkTarget(st, exchangeOf(r).target); err != nil {
		return err
	}
	c, err := modelConfig(s, st)
	if err != nil {
		return err
	}
	out := v2Config{Name: c.GetName(), Platform: c.GetPlatform(), Backend: c.GetBackend(), MaxBatchSize: c.GetMaxBatchSize()}
	port := func(name string, t pb.DataType, dims []int64, reshape *pb.ModelTensorReshape) v2ConfigPort {
		p := v2ConfigPort{Name: name, DataType: t.String(), Dims: dims}
		if reshape != nil {
			p.Reshape = &v2ConfigReshape{append([]int64{}, reshape.GetShape()...)}
		}
		return p
	}
	for _, in := range c.GetInput() {
		out.Input = append(out.Input, port(in.GetName(), in.GetDataType(), in.GetDims(), in.GetReshape()))
	}
	for _, o := range c.GetOutput() {
		out.Output = append(out.Output, port(o.GetName(), o.GetDataType(), o.GetDims(), o.GetReshape()))
	}
	return encodeJSON(w, out)
}

// index is the repository: one model, ready or why not.
func (s *Server) index(st *state, readyOnly bool) []*pb.RepositoryIndexResponse_ModelIndex {
	m := &pb.RepositoryIndexResponse_ModelIndex{Name: s.name, State: "READY"}
	switch {
	case st.err == nil:
		m.Version = st.version()
	case readyOnly:
		return nil
	case failed(st) != nil:
		m.State, m.Reason = "UNAVAILABLE", errFailed.Error()
	default:
		m.State = "LOADING"
	}
	return []*pb.RepositoryIndexResponse_ModelIndex{m}
}

func rpcIndex(_ context.Context, s *Server, st *state, req *pb.RepositoryIndexRequest) (proto.Message, error) {
	return &pb.RepositoryIndexResponse{Models: s.index(st, req.GetReady())}, nil
}

// IndexEntry is a model in Triton's repository index.
type IndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

func serveV2Index(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	body, err := s.readBody(w, r, nil)
	if err != nil {
		return err
	}
	var req struct {
		Ready bool `json:"ready"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &req); err != nil {
			return badRequest("expected {\"ready\": true|false} or no body: %v", err)
		}
	}
	out := []IndexEntry{}
	for _, m := range s.index(st, req.Ready) {
		out = append(out, IndexEntry{m.GetName(), m.GetVersion(), m.GetState(), m.GetReason()})
	}
	return encodeJSON(w, out)
}

// errUnload is the answer to unload: when a model is in memory is the autoscaler's to say.
var errUnload = badRequest("a model is unloaded when nobody has asked it for a while: weir delete removes it for good")

// Loading a model is asking for it: that a function answers says that its model is loaded.
func rpcLoad(_ context.Context, s *Server, _ *state, req *pb.RepositoryModelLoadRequest) (proto.Message, error) {
	return &pb.RepositoryModelLoadResponse{}, s.checkLoad(req.GetModelName(), len(req.GetParameters()))
}

func rpcUnload(_ context.Context, s *Server, _ *state, req *pb.RepositoryModelUnloadRequest) (proto.Message, error) {
	if err := s.checkName(req.GetModelName()); err != nil {
		return nil, err
	}
	return nil, errUnload
}

// checkLoad refuses to load anything but the model as it is.
func (s *Server) checkLoad(name string, params int) error {
	if params > 0 {
		return badRequest("a load with parameters is not supported: weir deploy makes a revision with another model or settings")
	}
	return s.checkName(name)
}

func serveV2Load(s *Server, _ *state, w http.ResponseWriter, r *http.Request) error {
	body, err := s.readBody(w, r, nil)
	if err != nil {
		return err
	}
	var req struct {
		Parameters map[string]any `json:"parameters"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &req); err != nil {
			return badRequest("expected an object or no body: %v", err)
		}
	}
	if err := s.checkLoad(exchangeOf(r).target.model, len(req.Parameters)); err != nil {
		return err
	}
	return writeJSON(w, []byte("{}\n"))
}

func serveV2Unload(s *Server, _ *state, _ http.ResponseWriter, r *http.Request) error {
	if err := s.checkName(exchangeOf(r).target.model); err != nil {
		return err
	}
	return errUnload
}
