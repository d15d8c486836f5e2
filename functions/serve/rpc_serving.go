package serve

import (
	"context"
	"slices"
	"strconv"

	tensorpb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_go_proto"
	shapepb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_shape_go_proto"
	corepb "github.com/galeone/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weir.dev/weir/functions/model"
	pb "weir.dev/weir/proto/serving"
)

// predictionMethods are those of TensorFlow Serving's PredictionService.
func predictionMethods() map[string]rpcMethod {
	return map[string]rpcMethod{
		"Predict":          unary(apiRPCPredict, rpcPredict),
		"Classify":         unary(apiRPCClassify, rpcClassify),
		"Regress":          unary(apiRPCRegress, rpcRegress),
		"MultiInference":   unary(apiRPCMulti, rpcMulti),
		"GetModelMetadata": unary(apiV1Metadata, rpcModelMetadata),
	}
}

// checkSpec reports whether a call is for the model that is served.
func checkSpec(ctx context.Context, st *state, spec *pb.ModelSpec) error {
	t := target{model: spec.GetName()}
	switch v := spec.GetVersionChoice().(type) {
	case *pb.ModelSpec_Version:
		t.version = strconv.FormatInt(v.Version.GetValue(), 10)
	case *pb.ModelSpec_VersionLabel:
		// The router knows the Service's tags and says which one it took; a function knows those it was told.
		if v.VersionLabel != tagOf(ctx) {
			t.label = v.VersionLabel
		}
	}
	if t.model == "" {
		return badRequest("model_spec.name is missing: this server has %q", st.meta.Name)
	}
	return checkTarget(st, t)
}

// specOf says which model, version and signature answered.
func specOf(st *state, signature string) *pb.ModelSpec {
	return &pb.ModelSpec{
		Name: st.meta.Name, SignatureName: signature,
		VersionChoice: &pb.ModelSpec_Version{Version: wrapperspb.Int64(st.meta.Version)},
	}
}

func rpcPredict(ctx context.Context, _ *Server, st *state, req *pb.PredictRequest) (proto.Message, error) {
	return predictSpec(ctx, st, req)
}

func predictSpec(ctx context.Context, st *state, req *pb.PredictRequest) (*pb.PredictResponse, error) {
	if err := checkSpec(ctx, st, req.GetModelSpec()); err != nil {
		return nil, err
	}
	sig, err := signature(st, req.GetModelSpec().GetSignatureName())
	if err != nil {
		return nil, err
	}
	in := model.Request{Signature: sig.Name, Inputs: make(map[string]model.Tensor, len(req.GetInputs())), Outputs: req.GetOutputFilter()}
	for i, name := range in.Outputs {
		if slices.Contains(in.Outputs[:i], name) {
			return nil, badRequest("output_filter: %q is given twice", name)
		}
	}
	for name, t := range req.GetInputs() {
		if in.Inputs[name], err = fromTensorProto(t); err != nil {
			return nil, badRequest("inputs[%q]: %v", name, err)
		}
	}
	out, err := st.model.Predict(ctx, in)
	if err != nil {
		return nil, err
	}
	answer := &pb.PredictResponse{ModelSpec: specOf(st, sig.Name), Outputs: make(map[string]*tensorpb.TensorProto, len(out.Outputs))}
	for name, t := range out.Outputs {
		answer.Outputs[name] = toTensorProto(t)
	}
	return answer, nil
}

func rpcClassify(ctx context.Context, _ *Server, st *state, req *pb.ClassificationRequest) (proto.Message, error) {
	sig, result, err := classify(ctx, st, req.GetModelSpec(), req.GetInput())
	return &pb.ClassificationResponse{Result: result, ModelSpec: specOf(st, sig)}, err
}

func classify(ctx context.Context, st *state, spec *pb.ModelSpec, in *pb.Input) (signature string, result *pb.ClassificationResult, err error) {
	sig, out, n, err := predictExamplesOf(ctx, st, spec, in, apiV1Classify)
	if err != nil {
		return sig, nil, err
	}
	c, err := newClassification(out, n)
	if err != nil {
		return sig, nil, err
	}
	result = &pb.ClassificationResult{}
	for i := range n {
		one := &pb.Classifications{}
		for j := range c.width {
			one.Classes = append(one.Classes, &pb.Class{Label: string(c.label(i*c.width + j)), Score: float32(c.score(i*c.width + j))})
		}
		result.Classifications = append(result.Classifications, one)
	}
	return sig, result, nil
}

func rpcRegress(ctx context.Context, _ *Server, st *state, req *pb.RegressionRequest) (proto.Message, error) {
	sig, result, err := regress(ctx, st, req.GetModelSpec(), req.GetInput())
	return &pb.RegressionResponse{Result: result, ModelSpec: specOf(st, sig)}, err
}

func regress(ctx context.Context, st *state, spec *pb.ModelSpec, in *pb.Input) (signature string, result *pb.RegressionResult, err error) {
	sig, out, n, err := predictExamplesOf(ctx, st, spec, in, apiV1Regress)
	if err != nil {
		return sig, nil, err
	}
	t, err := regression(out, n)
	if err != nil {
		return sig, nil, err
	}
	result = &pb.RegressionResult{}
	for i := range n {
		result.Regressions = append(result.Regressions, &pb.Regression{Value: float32(realAt(t, i))})
	}
	return sig, result, nil
}

// predictExamplesOf runs a signature on a call's examples and says how many there were.
func predictExamplesOf(ctx context.Context, st *state, spec *pb.ModelSpec, in *pb.Input, a api) (name string, out model.Response, n int64, err error) {
	if err := checkSpec(ctx, st, spec); err != nil {
		return "", out, 0, err
	}
	sig, err := signature(st, spec.GetSignatureName())
	if err != nil {
		return "", out, 0, err
	}
	examples, err := examplesOf(in)
	if err != nil {
		return "", out, 0, err
	}
	out, err = runExamples(ctx, st, a, sig, examples)
	return sig.Name, out, int64(len(examples)), err
}

// examplesOf are a call's examples, serialised. The context's features stand before each example's own, which so win.
func examplesOf(in *pb.Input) ([][]byte, error) {
	examples := in.GetExampleList().GetExamples()
	var before []byte
	if with := in.GetExampleListWithContext(); with != nil {
		examples = with.GetExamples()
		var err error
		if before, err = proto.Marshal(with.GetContext()); err != nil {
			return nil, badRequest("input.context: %v", err)
		}
	}
	if len(examples) == 0 {
		return nil, badRequest("input: expected at least one example, got none")
	}
	out := make([][]byte, len(examples))
	for i, e := range examples {
		one, err := proto.MarshalOptions{}.MarshalAppend(slices.Clone(before), e)
		if err != nil {
			return nil, badRequest("input.examples[%d]: %v", i, err)
		}
		out[i] = one
	}
	return out, nil
}

// rpcMulti runs classify and regress signatures of one model on the same examples.
func rpcMulti(ctx context.Context, _ *Server, st *state, req *pb.MultiInferenceRequest) (proto.Message, error) {
	return multiInference(ctx, st, req)
}

func multiInference(ctx context.Context, st *state, req *pb.MultiInferenceRequest) (*pb.MultiInferenceResponse, error) {
	if len(req.GetTasks()) == 0 {
		return nil, badRequest("expected tasks, got none")
	}
	answer := &pb.MultiInferenceResponse{}
	for i, task := range req.GetTasks() {
		spec := task.GetModelSpec()
		same := func(t *pb.InferenceTask) bool {
			return t.GetModelSpec().GetSignatureName() == spec.GetSignatureName()
		}
		if slices.ContainsFunc(req.GetTasks()[:i], same) {
			return nil, badRequest("tasks[%d]: signature %q is given twice", i, spec.GetSignatureName())
		}
		result := &pb.InferenceResult{}
		var sig string
		var err error
		switch task.GetMethodName() {
		case model.MethodClassify:
			var c *pb.ClassificationResult
			sig, c, err = classify(ctx, st, spec, req.GetInput())
			result.Result = &pb.InferenceResult_ClassificationResult{ClassificationResult: c}
		case model.MethodRegress:
			var r *pb.RegressionResult
			sig, r, err = regress(ctx, st, spec, req.GetInput())
			result.Result = &pb.InferenceResult_RegressionResult{RegressionResult: r}
		default:
			return nil, badRequest("tasks[%d].method_name is %q, expected %s or %s", i, task.GetMethodName(), model.MethodClassify, model.MethodRegress)
		}
		if err != nil {
			return nil, err
		}
		result.ModelSpec = specOf(st, sig)
		answer.Results = append(answer.Results, result)
	}
	return answer, nil
}

// fieldSignatureDef is the only metadata that TensorFlow Serving has.
const fieldSignatureDef = "signature_def"

func rpcModelMetadata(ctx context.Context, _ *Server, st *state, req *pb.GetModelMetadataRequest) (proto.Message, error) {
	if err := checkSpec(ctx, st, req.GetModelSpec()); err != nil {
		return nil, err
	}
	if len(req.GetMetadataField()) == 0 {
		return nil, badRequest("metadata_field: expected %q, got none", fieldSignatureDef)
	}
	for _, f := range req.GetMetadataField() {
		if f != fieldSignatureDef {
			return nil, badRequest("metadata_field %q is not supported: expected %q", f, fieldSignatureDef)
		}
	}
	defs := &pb.SignatureDefMap{SignatureDef: make(map[string]*corepb.SignatureDef, len(st.meta.Signatures))}
	for name, sig := range st.meta.Signatures {
		defs.SignatureDef[name] = &corepb.SignatureDef{Inputs: tensorInfos(sig.Inputs), Outputs: tensorInfos(sig.Outputs), MethodName: sig.Method}
	}
	packed, err := anypb.New(defs)
	if err != nil {
		return nil, err
	}
	return &pb.GetModelMetadataResponse{ModelSpec: specOf(st, ""), Metadata: map[string]*anypb.Any{fieldSignatureDef: packed}}, nil
}

func tensorInfos(specs []model.TensorSpec) map[string]*corepb.TensorInfo {
	infos := make(map[string]*corepb.TensorInfo, len(specs))
	for _, s := range specs {
		shape := &shapepb.TensorShapeProto{UnknownRank: s.AnyRank}
		for _, d := range s.Shape {
			if !s.AnyRank {
				shape.Dim = append(shape.Dim, &shapepb.TensorShapeProto_Dim{Size: d})
			}
		}
		infos[s.Name] = &corepb.TensorInfo{
			Encoding: &corepb.TensorInfo_Name{Name: s.Name}, Dtype: protoTypes[s.DType], TensorShape: shape,
		}
	}
	return infos
}

func rpcStatus(ctx context.Context, _ *Server, st *state, req *pb.GetModelStatusRequest) (proto.Message, error) {
	if err := checkSpec(ctx, st, req.GetModelSpec()); err != nil {
		return nil, err
	}
	return &pb.GetModelStatusResponse{ModelVersionStatus: []*pb.ModelVersionStatus{{
		Version: st.meta.Version, State: pb.ModelVersionStatus_AVAILABLE, Status: &pb.StatusProto{},
	}}}, nil
}
