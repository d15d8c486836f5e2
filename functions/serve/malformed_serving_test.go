package serve

import (
	"testing"

	"google.golang.org/grpc/codes"

	pb "weir.dev/weir/proto/serving"
)

func TestPredictCallMalformed(t *testing.T) {
	t.Parallel()
	const bad, missing = codes.InvalidArgument, codes.NotFound
	spec := func(more string) string { return `model_spec {name: "toy" ` + more + `} ` }
	in := func(name, tensor string) string {
		return spec("") + `inputs {key: "` + name + `" value {` + tensor + `}}`
	}
	const shape = `tensor_shape {dim {size: 1} dim {size: 3}} `
	good := in("x", `dtype: DT_FLOAT `+shape+`float_val: [1, 2, 3]`)
	sig := func(name, in, tensor string) string {
		return spec(`signature_name: "`+name+`"`) + `inputs {key: "` + in + `" value {` + tensor + `}}`
	}
	service := "/tensorflow.serving.PredictionService/"
	testBadCalls(t, service+"Predict", &pb.PredictRequest{}, good, []badCall{
		{name: "empty", code: bad, want: "model_spec.name is missing"},
		{name: "no name", request: `model_spec {}`, code: bad, want: `model_spec.name is missing: this server has "toy"`},
		{name: "another model", request: `model_spec {name: "dog"}`, code: missing, want: `model "dog" not found`},
		{name: "another version", request: spec(`version {value: 4}`), code: missing, want: "no version 4"},
		{name: "negative version", request: spec(`version {value: -1}`), code: missing, want: "no version -1"},
		{name: "unknown label", request: spec(`version_label: "canary"`), code: missing, want: `no version label "canary": it has "stable"`},
		{name: "unknown signature", request: spec(`signature_name: "s"`), code: missing, want: `no signature "s"`},
		{name: "no inputs", request: spec(""), code: bad, want: `missing input "x"`},
		{name: "unknown input", request: good + ` inputs {key: "y" value {dtype: DT_FLOAT float_val: 1}}`, code: bad, want: `unknown input "y"`},
		{name: "no dtype", request: in("x", shape), code: bad, want: "dtype DT_INVALID is not supported"},
		{name: "a dtype that is none", request: in("x", `dtype: DT_COMPLEX64`), code: bad, want: "DT_COMPLEX64 is not supported"},
		{name: "wrong dtype", request: in("x", `dtype: DT_INT32 `+shape+`int_val: 1`), code: bad, want: `input "x" is INT32, expected FP32`},
		{name: "no rank", request: in("x", `dtype: DT_FLOAT tensor_shape {unknown_rank: true}`), code: bad, want: "no rank"},
		{name: "a negative dimension", request: in("x", `dtype: DT_FLOAT tensor_shape {dim {size: -1}}`), code: bad, want: "negative dimension"},
		{name: "a huge shape", request: in("x", `dtype: DT_FLOAT tensor_shape {dim {size: 4611686018427387904} dim {size: 4}}`), code: bad, want: "too large"},
		{name: "much of nothing", request: in("x", `dtype: DT_FLOAT tensor_shape {dim {size: 1000000000} dim {size: 3}}`), code: bad, want: "at most 1048576 are filled in"},
		{name: "many of one string", request: sig("bytes", "bytes", `dtype: DT_STRING tensor_shape {dim {size: 1000000000}} string_val: "x"`), code: bad, want: "at most 1048576 are filled in"},
		{name: "too many", request: in("x", `dtype: DT_FLOAT `+shape+`float_val: [1, 2, 3, 4]`), code: bad, want: "needs 3 elements, got 4"},
		{name: "wrong rank", request: in("x", `dtype: DT_FLOAT float_val: 1`), code: bad, want: "shape [], expected [-1 3]"},
		{name: "wrong shape", request: in("x", `dtype: DT_FLOAT tensor_shape {dim {size: 3} dim {size: 1}} float_val: 1`), code: bad, want: "shape [3 1], expected [-1 3]"},
		{name: "content too short", request: in("x", `dtype: DT_FLOAT `+shape+`tensor_content: "1234"`), code: bad, want: "needs 3 elements of 4 bytes, got 4 bytes"},
		{name: "a bool of 2", request: sig("bool", "bool", `dtype: DT_BOOL tensor_shape {dim {size: 1}} tensor_content: "\x02"`), code: bad, want: "neither 0 nor 1"},
		{name: "strings as content", request: sig("bytes", "bytes", `dtype: DT_STRING tensor_shape {dim {size: 1}} tensor_content: "x"`), code: bad, want: "send string_val"},
		{name: "unknown output", request: good + ` output_filter: "z"`, code: bad, want: `unknown output "z"`},
		{name: "an output twice", request: good + ` output_filter: "x_out" output_filter: "x_out"`, code: bad, want: "given twice"},
		{name: "no message", body: []byte{}, code: bad, want: "no message"},
		{name: "no protocol buffer", body: frame(0, []byte("{}")), code: bad, want: "is no tensorflow.serving.PredictRequest"},
		{name: "over the limit", body: frame(0, make([]byte, 1<<16+1)), code: codes.ResourceExhausted, want: "over the limit"},
		{name: "unknown method", path: service + "Explain", request: good, code: codes.Unimplemented, want: "no gRPC method"},
		{name: "a session run", path: "/tensorflow.serving.SessionService/SessionRun", request: good, code: codes.Unimplemented, want: "no gRPC method"},
	})
	testBadCalls(t, service+"Classify", &pb.ClassificationRequest{}, spec(`signature_name: "classify"`)+`input {example_list {examples {}}}`, []badCall{
		{name: "no examples", request: spec(`signature_name: "classify"`), code: bad, want: "expected at least one example"},
		{name: "an empty list", request: spec(`signature_name: "classify"`) + `input {example_list {}}`, code: bad, want: "expected at least one example"},
		{name: "another method", request: spec(`signature_name: "regress"`) + `input {example_list {examples {}}}`, code: bad, want: `has method "tensorflow/serving/regress"`},
		{name: "to predict", request: spec("") + `input {example_list {examples {}}}`, code: bad, want: "tensorflow/serving/predict"},
	})
	testBadCalls(t, service+"MultiInference", &pb.MultiInferenceRequest{}, `tasks {`+spec(`signature_name: "regress"`)+`method_name: "tensorflow/serving/regress"} input {example_list {examples {}}}`, []badCall{
		{name: "no tasks", code: bad, want: "expected tasks"},
		{name: "no method", request: `tasks {` + spec(`signature_name: "regress"`) + `} input {example_list {examples {}}}`, code: bad, want: "tasks[0].method_name"},
		{name: "twice", request: `tasks {` + spec(`signature_name: "regress"`) + `method_name: "tensorflow/serving/regress"} tasks {` + spec(`signature_name: "regress"`) + `} input {example_list {examples {}}}`, code: bad, want: "given twice"},
	})
	testBadCalls(t, service+"GetModelMetadata", &pb.GetModelMetadataRequest{}, spec("")+`metadata_field: "signature_def"`, []badCall{
		{name: "no field", request: spec(""), code: bad, want: "metadata_field"},
		{name: "unknown field", request: spec("") + `metadata_field: "weights"`, code: bad, want: `"weights" is not supported`},
	})
}

// TestPredictCall reads tensors in every form and gives them back.
func TestPredictCall(t *testing.T) {
	t.Parallel()
	c := pb.NewPredictionServiceClient(dial(t, listenCalls(t, toyServer(t))))
	ask := func(sig, in, tensor string) string {
		return `model_spec {name: "toy" signature_name: "` + sig + `"} inputs {key: "` + in + `" value {` + tensor + `}}`
	}
	type rpcCase struct{ name, request, want string }
	for _, tt := range []rpcCase{
		{"content", ask("serving_default", "x", `dtype: DT_FLOAT tensor_shape {dim {size: 1} dim {size: 3}} tensor_content: "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40"`),
			`dtype: DT_FLOAT tensor_shape {dim {size: 1} dim {size: 3}} float_val: [1, 2, 3]`},
		{"the last value fills the rest", ask("serving_default", "x", `dtype: DT_FLOAT tensor_shape {dim {size: 1} dim {size: 3}} float_val: [1, 2]`),
			`dtype: DT_FLOAT tensor_shape {dim {size: 1} dim {size: 3}} float_val: [1, 2, 2]`},
		{"no value is zero", ask("serving_default", "x", `dtype: DT_FLOAT tensor_shape {dim {size: 1} dim {size: 3}}`),
			`dtype: DT_FLOAT tensor_shape {dim {size: 1} dim {size: 3}} float_val: [0, 0, 0]`},
		{"a scalar", ask("any", "v", `dtype: DT_DOUBLE tensor_shape {} double_val: 0.5`), `dtype: DT_DOUBLE tensor_shape {} double_val: 0.5`},
		{"bool", ask("bool", "bool", `dtype: DT_BOOL tensor_shape {dim {size: 2}} bool_val: [true, false]`), `dtype: DT_BOOL tensor_shape {dim {size: 2}} bool_val: [true, false]`},
		{"uint8", ask("uint8", "uint8", `dtype: DT_UINT8 tensor_shape {dim {size: 2}} int_val: [0, 255]`), `dtype: DT_UINT8 tensor_shape {dim {size: 2}} int_val: [0, 255]`},
		{"uint16", ask("uint16", "uint16", `dtype: DT_UINT16 tensor_shape {dim {size: 1}} int_val: 65535`), `dtype: DT_UINT16 tensor_shape {dim {size: 1}} int_val: 65535`},
		{"uint32", ask("uint32", "uint32", `dtype: DT_UINT32 tensor_shape {dim {size: 1}} uint32_val: 4294967295`), `dtype: DT_UINT32 tensor_shape {dim {size: 1}} uint32_val: 4294967295`},
		{"uint64", ask("uint64", "uint64", `dtype: DT_UINT64 tensor_shape {dim {size: 1}} uint64_val: 18446744073709551615`), `dtype: DT_UINT64 tensor_shape {dim {size: 1}} uint64_val: 18446744073709551615`},
		{"int8", ask("int8", "int8", `dtype: DT_INT8 tensor_shape {dim {size: 2}} int_val: [-128, 127]`), `dtype: DT_INT8 tensor_shape {dim {size: 2}} int_val: [-128, 127]`},
		{"int16", ask("int16", "int16", `dtype: DT_INT16 tensor_shape {dim {size: 1}} int_val: -32768`), `dtype: DT_INT16 tensor_shape {dim {size: 1}} int_val: -32768`},
		{"int64", ask("int64", "int64", `dtype: DT_INT64 tensor_shape {dim {size: 1}} int64_val: -9223372036854775808`), `dtype: DT_INT64 tensor_shape {dim {size: 1}} int64_val: -9223372036854775808`},
		{"half", ask("fp16", "fp16", `dtype: DT_HALF tensor_shape {dim {size: 1}} half_val: 15360`), `dtype: DT_HALF tensor_shape {dim {size: 1}} half_val: 15360`},
		{"bfloat16", ask("bf16", "bf16", `dtype: DT_BFLOAT16 tensor_shape {dim {size: 1}} half_val: 16256`), `dtype: DT_BFLOAT16 tensor_shape {dim {size: 1}} half_val: 16256`},
		{"strings", ask("bytes", "bytes", `dtype: DT_STRING tensor_shape {dim {size: 2}} string_val: "\xff"`), `dtype: DT_STRING tensor_shape {dim {size: 2}} string_val: ["\xff", "\xff"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := c.Predict(t.Context(), text[pb.PredictRequest](t, tt.request))
			if err != nil {
				t.Fatal(err)
			}
			if v := got.GetModelSpec().GetVersion().GetValue(); v != 3 || len(got.GetOutputs()) != 1 {
				t.Errorf("%v", got)
			}
			for name := range got.GetOutputs() {
				same(t, &pb.PredictResponse{Outputs: got.GetOutputs()}, `outputs {key: "`+name+`" value {`+tt.want+`}}`)
			}
		})
	}
}
