package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/internal/rpc/direct"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/internal/soon"
	pb "weir.dev/weir/proto/inference"
)

// listenCalls serves s as a function does: clients by grpc-go's transport, everybody else by net/http.
func listenCalls(t testing.TB, s *Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	h := s.Handler()
	go func() {
		done <- server.RunBeside(ctx, ln, h, server.Limits{}, direct.New(h, direct.Options{Message: s.limits.Body}))
	}()
	t.Cleanup(func() {
		stop()
		if err := soon.Next(t, "the server's end", done); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// passedOn is the metadata of a call that came through a proxy: net/http serves its connection.
var passedOn = []string{"x-forwarded-for", "10.0.0.1"}

func dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// text reads a message from its text form.
func text[T any, P message[T]](t testing.TB, s string) P {
	t.Helper()
	m := P(new(T))
	if err := prototext.Unmarshal([]byte(s), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// same compares an answer with its text form.
func same[T any, P message[T]](t testing.TB, got P, want string) {
	t.Helper()
	if diff := cmp.Diff(text[T, P](t, want), got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// frame puts a message's prefix before it.
func frame(compressed byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{compressed}, uint32(len(message))), message...)
}

// rawCall sends any bytes as a call and returns how it ended.
func rawCall(t testing.TB, addr, path string, header map[string]string, body []byte) (codes.Code, string) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/grpc") {
		t.Fatalf("HTTP status %d, %v", res.StatusCode, res.Header)
	}
	if got := res.Header.Get("Grpc-Accept-Encoding"); got != "gzip,deflate" {
		t.Errorf("the answer says of encodings %q", got)
	}
	end := res.Trailer
	if end.Get("Grpc-Status") == "" {
		end = res.Header
	}
	code, err := strconv.Atoi(end.Get("Grpc-Status"))
	if err != nil {
		t.Fatalf("no status in %v, %v", res.Header, res.Trailer)
	}
	told, err := url.PathUnescape(end.Get("Grpc-Message"))
	if err != nil {
		t.Fatal(err)
	}
	return codes.Code(code), told
}

func TestRPCServer(t *testing.T) {
	t.Parallel()
	s := newServer(t, Options{})
	conn := dial(t, listenCalls(t, s))
	c, h := pb.NewGRPCInferenceServiceClient(conn), healthpb.NewHealthClient(conn)
	ctx := t.Context()
	check := func(ready bool) {
		t.Helper()
		live, err := c.ServerLive(ctx, &pb.ServerLiveRequest{})
		if err != nil || !live.GetLive() {
			t.Errorf("live: %v, %v", live, err)
		}
		r, err := c.ServerReady(ctx, &pb.ServerReadyRequest{})
		if err != nil || r.GetReady() != ready {
			t.Errorf("ready: %v, %v; want %v", r, err, ready)
		}
		m, err := c.ModelReady(ctx, &pb.ModelReadyRequest{Name: "toy"})
		if err != nil || m.GetReady() != ready {
			t.Errorf("model ready: %v, %v; want %v", m, err, ready)
		}
		got, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: "inference.GRPCInferenceService"})
		if err != nil || (got.GetStatus() == healthpb.HealthCheckResponse_SERVING) != ready {
			t.Errorf("health: %v, %v; want serving %v", got, err, ready)
		}
	}
	check(false)
	_, err := c.ModelInfer(ctx, &pb.ModelInferRequest{ModelName: "toy"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "model is loading") {
		t.Errorf("infer before there is a model: %v", err)
	}
	s.SetModel(toy())
	check(true)
	if _, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("health of an unknown service: %v", err)
	}
	s.SetFailed(io.ErrUnexpectedEOF)
	if live, err := c.ServerLive(ctx, &pb.ServerLiveRequest{}); err != nil || live.GetLive() {
		t.Errorf("live after the model failed: %v, %v", live, err)
	}
}

func TestRPCReflection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(dial(t, listenCalls(t, toyServer(t)))).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	var names []string
	list := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	for _, s := range list.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range rpcServices {
		file := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: want}})
		if !strings.Contains(strings.Join(names, " "), want) || len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			t.Errorf("%s: listed are %v, its file is %v", want, names, file)
		}
	}
}

func TestRPCMetadata(t *testing.T) {
	t.Parallel()
	c := pb.NewGRPCInferenceServiceClient(dial(t, listenCalls(t, toyServer(t))))
	ctx := t.Context()
	meta, err := c.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: "toy", Version: "3"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, meta, `name: "toy" versions: "3" platform: "tensorflow_savedmodel"
		inputs {name: "x" datatype: "FP32" shape: [-1, 3]} outputs {name: "x_out" datatype: "FP32" shape: [-1, 3]}`)
	config, err := c.ModelConfig(ctx, &pb.ModelConfigRequest{Name: "toy"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, config, `config {name: "toy" platform: "tensorflow_savedmodel" backend: "tensorflow" max_batch_size: 10
		input {name: "x" data_type: TYPE_FP32 dims: 3} output {name: "x_out" data_type: TYPE_FP32 dims: 3}}`)
	index, err := c.RepositoryIndex(ctx, &pb.RepositoryIndexRequest{Ready: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, index, `models {name: "toy" version: "3" state: "READY"}`)
	if _, err := c.RepositoryModelLoad(ctx, &pb.RepositoryModelLoadRequest{ModelName: "toy"}); err != nil {
		t.Error(err)
	}
	if _, err := c.RepositoryModelUnload(ctx, &pb.RepositoryModelUnloadRequest{ModelName: "toy"}); status.Code(err) != codes.InvalidArgument {
		t.Error(err)
	}
}

func TestRPCInfer(t *testing.T) {
	t.Parallel()
	addr := listenCalls(t, toyServer(t))
	c, proxied := pb.NewGRPCInferenceServiceClient(dial(t, addr)), pb.NewGRPCInferenceServiceClient(dial(t, addr))
	// in is a typed request for a signature of one input of one type, out its answer.
	in := func(d, shape, contents string) string {
		return `model_name: "toy" inputs {name: "` + strings.ToLower(d) + `" datatype: "` + d + `" shape: ` + shape + ` contents {` + contents + `}}`
	}
	out := func(d, shape, contents string) string {
		return `model_name: "toy" model_version: "3" outputs {name: "` + strings.ToLower(d) + `_out" datatype: "` + d + `" shape: ` + shape + ` contents {` + contents + `}}`
	}
	type rpcCase struct{ name, request, want string }
	tests := []rpcCase{
		{"typed, id and version", `model_name: "toy" model_version: "3" id: "7" inputs {name: "x" datatype: "FP32" shape: [1, 3] contents {fp32_contents: [1, 2, 3.5]}}`,
			`model_name: "toy" model_version: "3" id: "7" outputs {name: "x_out" datatype: "FP32" shape: [1, 3] contents {fp32_contents: [1, 2, 3.5]}}`},
		{"raw", `model_name: "toy" inputs {name: "uint16" datatype: "UINT16" shape: 2} raw_input_contents: "\x01\x02\x03\x04"`,
			`model_name: "toy" model_version: "3" outputs {name: "uint16_out" datatype: "UINT16" shape: 2} raw_output_contents: "\x01\x02\x03\x04"`},
		{"raw beside contents that hold nothing", `model_name: "toy" inputs {name: "uint16" datatype: "UINT16" shape: 2 contents {}} raw_input_contents: "\x01\x02\x03\x04"`,
			`model_name: "toy" model_version: "3" outputs {name: "uint16_out" datatype: "UINT16" shape: 2} raw_output_contents: "\x01\x02\x03\x04"`},
		{"raw halves", `model_name: "toy" inputs {name: "fp16" datatype: "FP16" shape: 1} raw_input_contents: "\x00\x3c"`,
			`model_name: "toy" model_version: "3" outputs {name: "fp16_out" datatype: "FP16" shape: 1} raw_output_contents: "\x00\x3c"`},
		{"raw brain floats", `model_name: "toy" inputs {name: "bf16" datatype: "BF16" shape: 1} raw_input_contents: "\x80\x3f"`,
			`model_name: "toy" model_version: "3" outputs {name: "bf16_out" datatype: "BF16" shape: 1} raw_output_contents: "\x80\x3f"`},
		{"raw strings", `model_name: "toy" inputs {name: "bytes" datatype: "BYTES" shape: 2} raw_input_contents: "\x02\x00\x00\x00ab\x00\x00\x00\x00"`,
			`model_name: "toy" model_version: "3" outputs {name: "bytes_out" datatype: "BYTES" shape: 2} raw_output_contents: "\x02\x00\x00\x00ab\x00\x00\x00\x00"`},
		{"outputs in order", `model_name: "toy" inputs {name: "a" datatype: "INT32" shape: 1 contents {int_contents: 7}} inputs {name: "b" datatype: "BYTES" shape: 1 contents {bytes_contents: "x"}}
			outputs {name: "b_out"} outputs {name: "a_out"}`,
			`model_name: "toy" model_version: "3" outputs {name: "b_out" datatype: "BYTES" shape: 1 contents {bytes_contents: "x"}} outputs {name: "a_out" datatype: "INT32" shape: 1 contents {int_contents: 7}}`},
		{"signature by parameter", `model_name: "toy" parameters {key: "signature_name" value {string_param: "any"}} inputs {name: "v" datatype: "FP64" contents {fp64_contents: 0.1}}`,
			`model_name: "toy" model_version: "3" outputs {name: "v_out" datatype: "FP64" contents {fp64_contents: 0.1}}`},
	}
	for _, d := range [][3]string{
		{"BOOL", "2", "bool_contents: [true, false]"}, {"INT8", "2", "int_contents: [-128, 127]"}, {"INT16", "2", "int_contents: [-32768, 32767]"},
		{"INT64", "1", "int64_contents: -9223372036854775808"}, {"UINT8", "2", "uint_contents: [0, 255]"}, {"UINT16", "1", "uint_contents: 65535"},
		{"UINT32", "1", "uint_contents: 4294967295"}, {"UINT64", "1", "uint64_contents: 18446744073709551615"}, {"BYTES", "1", `bytes_contents: "\xff"`},
	} {
		tests = append(tests, rpcCase{"typed " + d[0], in(d[0], d[1], d[2]), out(d[0], d[1], d[2])})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := text[pb.ModelInferRequest](t, tt.request)
			through := metadata.AppendToOutgoingContext(t.Context(), passedOn...)
			for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
				got, err := c.ModelInfer(t.Context(), request, options...)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, tt.want)
				if got, err = proxied.ModelInfer(through, request, options...); err != nil {
					t.Fatal(err)
				}
				same(t, got, tt.want)
			}
		})
	}
}

func TestRPCStream(t *testing.T) {
	t.Parallel()
	c := pb.NewGRPCInferenceServiceClient(dial(t, listenCalls(t, toyServer(t))))
	stream, err := c.ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The second one is wrong, and the third for another model; each is answered before the next one is sent.
	for i, tt := range []struct{ model, width, want string }{
		{"toy", "3", ""}, {"toy", "2", "needs 2 elements"}, {"game", "3", `this stream goes to model "toy"`}, {"toy", "3", ""},
	} {
		request := text[pb.ModelInferRequest](t, `inputs {name: "x" datatype: "FP32" shape: [1, `+tt.width+`] contents {fp32_contents: [1, 2, 3]}}`)
		request.Id, request.ModelName = strconv.Itoa(i), tt.model
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		answer := got.GetInferResponse()
		if (tt.want != "") != (got.GetErrorMessage() != "") || !strings.Contains(got.GetErrorMessage(), tt.want) || answer.GetId() != request.GetId() {
			t.Errorf("answer %d: %v", i, got)
		}
		if !answer.GetParameters()["triton_final_response"].GetBoolParam() || answer.GetModelName() != "toy" || answer.GetModelVersion() != "3" {
			t.Errorf("answer %d: %v", i, answer)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
	got, err := c.ModelStatistics(t.Context(), &pb.ModelStatisticsRequest{Name: "toy"})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.GetModelStats()[0].GetInferenceStats(); s.GetSuccess().GetCount() != 2 || s.GetFail().GetCount() != 2 {
		t.Errorf("each request of a stream counts: %v", s)
	}
}

// A client of a stream may wait longer between two messages than a body may take, but not without end.
func TestRPCStreamPauses(t *testing.T) {
	t.Parallel()
	request := text[pb.ModelInferRequest](t, `model_name: "toy" inputs {name: "x" datatype: "FP32" shape: [1, 3] contents {fp32_contents: [1, 2, 3]}}`)
	open := func(t *testing.T, limits Limits) pb.GRPCInferenceService_ModelStreamInferClient {
		t.Helper()
		s := toyServer(t)
		s.limits = limits.withDefaults()
		stream, err := pb.NewGRPCInferenceServiceClient(dial(t, listenCalls(t, s))).ModelStreamInfer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	ask := func(t *testing.T, stream pb.GRPCInferenceService_ModelStreamInferClient) {
		t.Helper()
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("long", func(t *testing.T) {
		t.Parallel()
		const read = 100 * time.Millisecond
		stream := open(t, Limits{Read: read})
		ask(t, stream)
		<-time.After(2 * read) // the pause itself
		ask(t, stream)
	})
	t.Run("too long", func(t *testing.T) {
		t.Parallel()
		stream := open(t, Limits{Pause: 100 * time.Millisecond})
		ask(t, stream)
		if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("after a pause that is too long: %v", err)
		}
	})
}

func TestRPCStatistics(t *testing.T) {
	t.Parallel()
	c := pb.NewGRPCInferenceServiceClient(dial(t, listenCalls(t, toyServer(t))))
	for _, request := range []string{
		`model_name: "toy" inputs {name: "x" datatype: "FP32" shape: [2, 3] contents {fp32_contents: [1, 2, 3, 4, 5, 6]}}`, `model_name: "toy"`,
	} {
		_, _ = c.ModelInfer(t.Context(), text[pb.ModelInferRequest](t, request))
	}
	got, err := c.ModelStatistics(t.Context(), &pb.ModelStatisticsRequest{Name: "toy"})
	if err != nil {
		t.Fatal(err)
	}
	m := got.GetModelStats()[0]
	stats := m.GetInferenceStats()
	if m.GetInferenceCount() != 2 || m.GetExecutionCount() != 1 || m.GetLastInference() == 0 ||
		stats.GetSuccess().GetCount() != 1 || stats.GetFail().GetCount() != 1 || stats.GetComputeInfer().GetNs() == 0 ||
		stats.GetQueue().GetCount() != 1 || stats.GetComputeInput().GetCount() != 1 || stats.GetComputeOutput().GetCount() != 1 {
		t.Errorf("%v", m)
	}
}

// badCall is a call that has to fail.
type badCall struct {
	name    string
	request string // in text form, unless body is given
	path    string // the table's own if empty
	header  map[string]string
	body    []byte
	code    codes.Code
	want    string
}

// testBadCalls is testBad for gRPC: each answer says what was expected, and the next request is served.
func testBadCalls(t *testing.T, path string, empty proto.Message, good string, tests []badCall) {
	t.Helper()
	addr := listenCalls(t, toyServer(t))
	encode := func(request string) []byte {
		m := proto.Clone(empty)
		if err := prototext.Unmarshal([]byte(request), m); err != nil {
			t.Fatal(err)
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return frame(0, b)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := tt.body
			if body == nil {
				body = encode(tt.request)
			}
			where := path
			if tt.path != "" {
				where = tt.path
			}
			code, got := rawCall(t, addr, where, tt.header, body)
			if code != tt.code || !strings.Contains(got, tt.want) {
				t.Errorf("code %v, want %v; message %q, want %q in it", code, tt.code, got, tt.want)
			}
			if strings.Contains(got, "panic") || strings.Contains(got, ".go") {
				t.Errorf("internals in %q", got)
			}
			if code, got := rawCall(t, addr, path, nil, encode(good)); code != codes.OK {
				t.Fatalf("the next good call: %v: %s", code, got)
			}
		})
	}
}
