package test

import (
	"context"
	"encoding/binary"
	"math"
	"net"
	"os"
	"strconv"
	"testing"

	"github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_go_proto"
	"github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_shape_go_proto"
	"github.com/galeone/tensorflow/tensorflow/go/core/framework/types_go_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weir.dev/weir/internal/harness"
	inferencepb "weir.dev/weir/proto/inference"
	servingpb "weir.dev/weir/proto/serving"
)

// dialCalls opens a gRPC connection to a host, by way of the ingress on a cluster.
func dialCalls(t *testing.T, host string) *grpc.ClientConn {
	t.Helper()
	target := "passthrough:///" + host
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if harness.OnCluster() {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", os.Getenv("WEIR_INGRESS"))
		}))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// v2Call asks imagenet over the Open Inference Protocol's gRPC, by version.
func v2Call(t *testing.T, conn *grpc.ClientConn, version string, in *inferencepb.ModelInferRequest_InferInputTensor, data []byte) []float64 {
	t.Helper()
	a, err := inferencepb.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), &inferencepb.ModelInferRequest{
		ModelName: "imagenet", ModelVersion: version, Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{in}, RawInputContents: [][]byte{data},
		Outputs: []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: "probabilities"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.GetRawOutputContents()) != 1 {
		t.Fatalf("%d outputs, want 1", len(a.GetRawOutputContents()))
	}
	return float32s(a.GetRawOutputContents()[0])
}

// v2Stream asks as v2Call does, in a stream.
func v2Stream(t *testing.T, conn *grpc.ClientConn, version string, in *inferencepb.ModelInferRequest_InferInputTensor, data []byte) []float64 {
	t.Helper()
	stream, err := inferencepb.NewGRPCInferenceServiceClient(conn).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The second request is sent when the first is answered: neither side waits for the other's end.
	var out []float64
	for range 2 {
		if err := stream.Send(&inferencepb.ModelInferRequest{
			ModelName: "imagenet", ModelVersion: version, Inputs: []*inferencepb.ModelInferRequest_InferInputTensor{in}, RawInputContents: [][]byte{data},
			Outputs: []*inferencepb.ModelInferRequest_InferRequestedOutputTensor{{Name: "probabilities"}},
		}); err != nil {
			t.Fatal(err)
		}
		a, err := stream.Recv()
		if err != nil || a.GetErrorMessage() != "" {
			t.Fatalf("%v: %s", err, a.GetErrorMessage())
		}
		out = float32s(a.GetInferResponse().GetRawOutputContents()[0])
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	return out
}

// servingCall asks imagenet over TensorFlow Serving's gRPC, by version.
func servingCall(t *testing.T, conn *grpc.ClientConn, version, input string, value *tensor_go_proto.TensorProto, signature string) []float64 {
	t.Helper()
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	a, err := servingpb.NewPredictionServiceClient(conn).Predict(t.Context(), &servingpb.PredictRequest{
		ModelSpec: &servingpb.ModelSpec{
			Name: "imagenet", SignatureName: signature,
			VersionChoice: &servingpb.ModelSpec_Version{Version: wrapperspb.Int64(n)},
		},
		Inputs: map[string]*tensor_go_proto.TensorProto{input: value}, OutputFilter: []string{"probabilities"},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := a.GetOutputs()["probabilities"]
	if content := out.GetTensorContent(); len(content) > 0 {
		return float32s(content)
	}
	values := make([]float64, len(out.GetFloatVal()))
	for i, v := range out.GetFloatVal() {
		values[i] = float64(v)
	}
	return values
}

// floatTensor is a tensor of TensorFlow's.
func floatTensor(shape []int, data []byte) *tensor_go_proto.TensorProto {
	p := &tensor_go_proto.TensorProto{Dtype: types_go_proto.DataType_DT_FLOAT, TensorShape: &tensor_shape_go_proto.TensorShapeProto{}, TensorContent: data}
	for _, d := range shape {
		p.TensorShape.Dim = append(p.TensorShape.Dim, &tensor_shape_go_proto.TensorShapeProto_Dim{Size: int64(d)})
	}
	return p
}

// floatInput is an input of the Open Inference Protocol.
func floatInput(shape []int) *inferencepb.ModelInferRequest_InferInputTensor {
	in := &inferencepb.ModelInferRequest_InferInputTensor{Name: "images", Datatype: "FP32"}
	for _, d := range shape {
		in.Shape = append(in.Shape, int64(d))
	}
	return in
}

// bytesInput is an image as the Open Inference Protocol's bytes, and its content.
func bytesInput(photo []byte) (*inferencepb.ModelInferRequest_InferInputTensor, []byte) {
	in := &inferencepb.ModelInferRequest_InferInputTensor{Name: "image_bytes", Datatype: "BYTES", Shape: []int64{1}}
	return in, append(binary.LittleEndian.AppendUint32(nil, uint32(len(photo))), photo...)
}

// scoresAt are the scores of the classes.
func scoresAt(all []float64, classes []int) []float64 {
	out := make([]float64, len(classes))
	for i, class := range classes {
		out[i] = math.NaN()
		if class < len(all) {
			out[i] = all[class]
		}
	}
	return out
}
