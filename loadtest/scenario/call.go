package scenario

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strconv"

	tensorpb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_go_proto"
	shapepb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_shape_go_proto"
	typespb "github.com/galeone/tensorflow/tensorflow/go/core/framework/types_go_proto"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weir.dev/weir/internal/rpc"
	inferencepb "weir.dev/weir/proto/inference"
	servingpb "weir.dev/weir/proto/serving"
)

// imageInput is the name of the input that takes an image, and of the signature that has it.
const imageInput = "image_bytes"

// call is a line of a file as the message of a gRPC call. The line is the message in JSON, as protobuf writes it and
// grpcurl takes it; the target's model and version are filled in where it has none.
func call(line []byte, t Target) (Input, error) {
	var m proto.Message = &inferencepb.ModelInferRequest{}
	if t.API == Predict {
		m = &servingpb.PredictRequest{}
	}
	if err := protojson.Unmarshal(line, m); err != nil {
		return Input{}, fmt.Errorf("expected a %s in JSON, as grpcurl takes it: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return framed(m, t)
}

// imageCall is an image as the message of a gRPC call.
func imageCall(data []byte, t Target) (Input, error) {
	if t.API == Predict {
		return framed(&servingpb.PredictRequest{
			ModelSpec: &servingpb.ModelSpec{SignatureName: imageInput},
			Inputs: map[string]*tensorpb.TensorProto{imageInput: {
				Dtype:       typespb.DataType_DT_STRING,
				TensorShape: &shapepb.TensorShapeProto{Dim: []*shapepb.TensorShapeProto_Dim{{Size: 1}}},
				StringVal:   [][]byte{data},
			}},
		}, t)
	}
	return framed(&inferencepb.ModelInferRequest{
		Parameters: map[string]*inferencepb.InferParameter{
			"signature_name": {ParameterChoice: &inferencepb.InferParameter_StringParam{StringParam: imageInput}},
		},
		Inputs:           []*inferencepb.ModelInferRequest_InferInputTensor{{Name: imageInput, Datatype: "BYTES", Shape: []int64{1}}},
		RawInputContents: [][]byte{append(binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data...)},
	}, t)
}

// framed names the model in a message and puts before it what gRPC does: that it is not compressed, and its length.
func framed(m proto.Message, t Target) (Input, error) {
	switch m := m.(type) {
	case *inferencepb.ModelInferRequest:
		m.ModelName = cmp.Or(m.ModelName, t.Model)
		if m.ModelVersion == "" && t.Version != 0 {
			m.ModelVersion = strconv.FormatInt(t.Version, 10)
		}
	case *servingpb.PredictRequest:
		if m.ModelSpec == nil {
			m.ModelSpec = &servingpb.ModelSpec{}
		}
		m.ModelSpec.Name = cmp.Or(m.ModelSpec.Name, t.Model)
		if m.ModelSpec.VersionChoice == nil && t.Version != 0 {
			m.ModelSpec.VersionChoice = &servingpb.ModelSpec_Version{Version: wrapperspb.Int64(t.Version)}
		}
	}
	body := make([]byte, rpc.Prefix, rpc.Prefix+proto.Size(m))
	body, err := proto.MarshalOptions{}.MarshalAppend(body, m)
	if err != nil {
		return Input{}, err
	}
	binary.BigEndian.PutUint32(body[1:], uint32(len(body)-rpc.Prefix))
	return Input{ContentType: rpc.ContentType, Body: body}, nil
}
