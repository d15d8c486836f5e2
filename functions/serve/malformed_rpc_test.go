package serve

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	inferencepb "weir.dev/weir/proto/inference"
)

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestInferCallMalformed(t *testing.T) {
	t.Parallel()
	const bad, missing = codes.InvalidArgument, codes.NotFound
	in := func(members string) string { return `model_name: "toy" inputs {` + members + `}` }
	x := func(more string) string {
		return in(`name: "x" datatype: "FP32" shape: [1, 3] contents {fp32_contents: [1, 2, 3]}`) + more
	}
	gzipped := map[string]string{"Grpc-Encoding": "gzip"}
	testBadCalls(t, "/inference.GRPCInferenceService/ModelInfer", &inferencepb.ModelInferRequest{}, x(""), []badCall{
		// The transport.
		{name: "no message", body: []byte{}, code: bad, want: "the call has no message"},
		{name: "half a prefix", body: []byte{0, 0, 0}, code: bad, want: "prefix is cut short"},
		{name: "shorter than its prefix", body: []byte{0, 0, 0, 0, 9, 1}, code: bad, want: "shorter than its prefix says"},
		{name: "longer than its prefix", body: []byte{0, 0, 0, 0, 0, 1}, code: bad, want: "more than one message"},
		{name: "two messages", body: append(frame(0, nil), frame(0, nil)...), code: bad, want: "more than one message"},
		{name: "first byte 2", body: frame(2, nil), code: bad, want: "first byte is 2"},
		{name: "over the limit", body: frame(0, make([]byte, 1<<16+1)), code: codes.ResourceExhausted, want: "over the limit of 65536"},
		{name: "a length of 4 GiB", body: []byte{0, 255, 255, 255, 255}, code: codes.ResourceExhausted, want: "over the limit"},
		{name: "no protocol buffer", body: frame(0, []byte("{}")), code: bad, want: "is no inference.ModelInferRequest"},
		{name: "a field cut short", body: frame(0, []byte{0x0a, 9, 't'}), code: bad, want: "is no inference.ModelInferRequest"},
		{name: "a wire type that is none", body: frame(0, []byte{0x0f}), code: bad, want: "is no inference.ModelInferRequest"},
		{name: "a name that is not UTF-8", body: frame(0, []byte{0x0a, 1, 0xff}), code: bad, want: "is no inference.ModelInferRequest"},
		{name: "compressed without an encoding", body: frame(1, nil), code: bad, want: "has no grpc-encoding"},
		{name: "no gzip", header: gzipped, body: frame(1, []byte("x")), code: bad, want: "no valid gzip"},
		{name: "gzip cut short", header: gzipped, body: frame(1, zipped(t, make([]byte, 100))[:20]), code: bad, want: "no valid gzip"},
		{name: "a gzip bomb", header: gzipped, body: frame(1, zipped(t, make([]byte, 1<<20))), code: codes.ResourceExhausted, want: "over the limit"},
		{name: "no zlib", header: map[string]string{"Grpc-Encoding": "deflate"}, body: frame(1, zipped(t, make([]byte, 100))), code: bad, want: "no valid deflate"},
		{name: "shared memory's calls", path: "/inference.GRPCInferenceService/SystemSharedMemoryStatus", request: x(""), code: codes.Unimplemented, want: "shared memory is not supported"},
		{name: "Triton's log", path: "/inference.GRPCInferenceService/LogSettings", request: x(""), code: codes.Unimplemented, want: "log settings cannot be changed"},
		{name: "unknown encoding", header: map[string]string{"Grpc-Encoding": "snappy"}, request: x(""), code: codes.Unimplemented, want: `grpc-encoding "snappy" is not supported`},
		{name: "JSON messages", header: map[string]string{"Content-Type": "application/grpc+json"}, request: x(""), code: bad, want: "message format"},
		{name: "a time-out that is none", header: map[string]string{"Grpc-Timeout": "soon"}, request: x(""), code: bad, want: "grpc-timeout"},
		{name: "a time-out of nine digits", header: map[string]string{"Grpc-Timeout": "123456789S"}, request: x(""), code: bad, want: "grpc-timeout"},
		{name: "no time left", header: map[string]string{"Grpc-Timeout": "1n"}, request: x(""), code: codes.DeadlineExceeded, want: "deadline exceeded"},
		{name: "unknown method", path: "/inference.GRPCInferenceService/Infer", request: x(""), code: codes.Unimplemented, want: "no gRPC method"},
		{name: "unknown service", path: "/x.Y/Z", request: x(""), code: codes.Unimplemented, want: "reflection lists"},
		{name: "watching health", path: "/grpc.health.v1.Health/Watch", body: frame(0, nil), code: codes.Unimplemented, want: "no gRPC method"},
		// The request.
		{name: "empty", request: "", code: missing, want: `model "" not found: this server has "toy"`},
		{name: "another model", request: `model_name: "dog"`, code: missing, want: `model "dog" not found`},
		{name: "another version", request: `model_name: "toy" model_version: "4"`, code: missing, want: "no version 4"},
		{name: "a version that is none", request: `model_name: "toy" model_version: "x"`, code: bad, want: `version "x" is no number`},
		{name: "no inputs", request: `model_name: "toy"`, code: bad, want: "expected inputs"},
		{name: "no datatype", request: in(`name: "x" shape: [1, 3]`), code: bad, want: `inputs[0].datatype: unknown datatype ""`},
		{name: "unknown datatype", request: in(`name: "x" datatype: "FLOAT" shape: [1, 3]`), code: bad, want: `unknown datatype "FLOAT"`},
		{name: "wrong datatype", request: in(`name: "x" datatype: "INT32" shape: 1 contents {int_contents: 1}`), code: bad, want: `input "x" is INT32, expected FP32`},
		{name: "unknown input", request: in(`name: "y" datatype: "FP32" shape: 1 contents {fp32_contents: 1}`), code: bad, want: `missing input "x"`},
		{name: "an input twice", request: x(` inputs {name: "x" datatype: "FP32" shape: 1 contents {fp32_contents: 1}}`), code: bad, want: `input "x" is given twice`},
		{name: "no contents", request: in(`name: "x" datatype: "FP32" shape: [1, 3]`), code: bad, want: "needs 3 elements in contents.fp32_contents, got 0"},
		{name: "contents of another type", request: in(`name: "x" datatype: "FP32" shape: [1, 3] contents {fp64_contents: [1, 2, 3]}`), code: bad, want: "contents.fp32_contents, got 0"},
		{name: "too few", request: in(`name: "x" datatype: "FP32" shape: [1, 3] contents {fp32_contents: 1}`), code: bad, want: "needs 3 elements"},
		{name: "wrong rank", request: in(`name: "x" datatype: "FP32" shape: 3 contents {fp32_contents: [1, 2, 3]}`), code: bad, want: "shape [3], expected [-1 3]"},
		{name: "a negative dimension", request: in(`name: "x" datatype: "FP32" shape: [-1, 3] contents {fp32_contents: [1, 2, 3]}`), code: bad, want: "negative dimension"},
		{name: "a huge shape", request: in(`name: "x" datatype: "FP32" shape: [4611686018427387904, 4]`), code: bad, want: "too large"},
		{name: "a huge shape of strings", request: in(`name: "bytes" datatype: "BYTES" shape: 4611686018427387903`), code: bad, want: "needs 4611686018427387903 elements"},
		{name: "a number that does not fit", request: in(`name: "int8" datatype: "INT8" shape: 1 contents {int_contents: 128}`), code: bad, want: "128, which is no INT8"},
		{name: "a negative one that does not fit", request: in(`name: "int16" datatype: "INT16" shape: 1 contents {int_contents: -32769}`), code: bad, want: "-32769, which is no INT16"},
		{name: "an unsigned one that does not fit", request: in(`name: "uint8" datatype: "UINT8" shape: 1 contents {uint_contents: 256}`), code: bad, want: "256, which is no UINT8"},
		{name: "halves as typed contents", request: in(`name: "fp16" datatype: "FP16" shape: 1 contents {fp32_contents: 1}`), code: bad, want: "FP16 has no typed contents"},
		{name: "raw and typed", request: x(` raw_input_contents: "123456789012"`), code: bad, want: "expected either contents or raw_input_contents"},
		{name: "raw contents too many", request: in(`name: "x" datatype: "FP32" shape: [1, 3]`) + ` raw_input_contents: "" raw_input_contents: ""`, code: bad, want: "for each of the 1 inputs, got 2"},
		{name: "raw contents too short", request: in(`name: "x" datatype: "FP32" shape: [1, 3]`) + ` raw_input_contents: "1234"`, code: bad, want: "needs 3 elements of 4 bytes, got 4 bytes"},
		{name: "a raw string cut short", request: in(`name: "bytes" datatype: "BYTES" shape: 1`) + ` raw_input_contents: "\x05\x00\x00\x00ab"`, code: bad, want: "has length 5, but 2 bytes are left"},
		{name: "a raw bool of 2", request: in(`name: "bool" datatype: "BOOL" shape: 1`) + ` raw_input_contents: "\x02"`, code: bad, want: "neither 0 nor 1"},
		{name: "shared memory", request: in(`name: "x" datatype: "FP32" shape: [1, 3] parameters {key: "shared_memory_region" value {string_param: "r"}}`), code: bad, want: "shared_memory_region: shared memory is not supported"},
		{name: "less than no classes", request: x(` outputs {name: "x_out" parameters {key: "classification" value {int64_param: -3}}}`), code: bad, want: "classification: expected how many classes"},
		{name: "classes by a string", request: x(` outputs {name: "x_out" parameters {key: "classification" value {string_param: "3"}}}`), code: bad, want: "classification: expected how many classes"},
		{name: "unknown output", request: x(` outputs {name: "z"}`), code: bad, want: `unknown output "z"`},
		{name: "an output twice", request: x(` outputs {name: "x_out"} outputs {name: "x_out"}`), code: bad, want: `output "x_out" is given twice`},
		{name: "unknown signature", request: x(` parameters {key: "signature_name" value {string_param: "s"}}`), code: missing, want: `no signature "s"`},
		{name: "a signature that is a number", request: x(` parameters {key: "signature_name" value {int64_param: 1}}`), code: bad, want: "expected a string_param"},
	})
}

// TestCallOverHTTP1 answers what cannot be a call as REST is answered.
func TestCallOverHTTP1(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/inference.GRPCInferenceService/ServerLive", nil)
	r.Header.Set("Content-Type", "application/grpc")
	w := httptest.NewRecorder()
	toyServer(t).Handler().ServeHTTP(w, r)
	if w.Code != http.StatusHTTPVersionNotSupported || !strings.Contains(w.Body.String(), "gRPC needs HTTP/2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
