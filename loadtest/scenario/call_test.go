package scenario

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/rpc"
	inferencepb "weir.dev/weir/proto/inference"
	servingpb "weir.dev/weir/proto/serving"
)

// TestMessages: lines of JSON and images become gRPC messages that name the target's model.
func TestMessages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, line string // without a line, an image
		target     Target
		into, want proto.Message
		text       string
	}{
		{
			name: "V2", line: `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"contents":{"fp32_contents":[0.5]}}]}`,
			target: Target{Model: "m", Version: 2, API: GRPC}, into: &inferencepb.ModelInferRequest{}, want: &inferencepb.ModelInferRequest{},
			text: `model_name: "m" model_version: "2" inputs {name: "x" datatype: "FP32" shape: 1 contents {fp32_contents: 0.5}}`,
		},
		{
			name: "a model of its own", line: `{"model_name":"own","model_version":"7"}`,
			target: Target{Model: "m", Version: 2, API: GRPC}, into: &inferencepb.ModelInferRequest{}, want: &inferencepb.ModelInferRequest{},
			text: `model_name: "own" model_version: "7"`,
		},
		{
			name: "Predict", line: `{"inputs":{"x":{"dtype":"DT_FLOAT","floatVal":[0.5]}}}`,
			target: Target{Model: "m", Version: 2, API: Predict}, into: &servingpb.PredictRequest{}, want: &servingpb.PredictRequest{},
			text: `model_spec {name: "m" version {value: 2}} inputs {key: "x" value {dtype: DT_FLOAT float_val: 0.5}}`,
		},
		{
			name: "image over V2", target: Target{Model: "m", API: GRPC}, into: &inferencepb.ModelInferRequest{}, want: &inferencepb.ModelInferRequest{},
			text: `model_name: "m" parameters {key: "signature_name" value {string_param: "image_bytes"}}
				inputs {name: "image_bytes" datatype: "BYTES" shape: 1} raw_input_contents: "\x03\x00\x00\x00png"`,
		},
		{
			name: "image by Predict", target: Target{Model: "m", API: Predict}, into: &servingpb.PredictRequest{}, want: &servingpb.PredictRequest{},
			text: `model_spec {name: "m" signature_name: "image_bytes"}
				inputs {key: "image_bytes" value {dtype: DT_STRING tensor_shape {dim {size: 1}} string_val: "png"}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in, err := image([]byte("png"), tt.target)
			if tt.line != "" {
				in, err = call([]byte(tt.line), tt.target)
			}
			if err != nil {
				t.Fatal(err)
			}
			if head := fmt.Sprintf("\x00\x00\x00\x00%c", len(in.Body)-rpc.Prefix); in.ContentType != "application/grpc" || string(in.Body[:rpc.Prefix]) != head {
				t.Fatalf("%q begins with %q, want %q", in.ContentType, in.Body[:rpc.Prefix], head)
			}
			if err := proto.Unmarshal(in.Body[rpc.Prefix:], tt.into); err != nil {
				t.Fatal(err)
			}
			if err := prototext.Unmarshal([]byte(tt.text), tt.want); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(tt.into, tt.want) {
				t.Errorf("%v, want %v", tt.into, tt.want)
			}
		})
	}
}
