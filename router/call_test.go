package router

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"weir.dev/weir/internal/rpc"
	_ "weir.dev/weir/internal/rpc/direct" // for its compression
	"weir.dev/weir/internal/server"
	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
	inferencepb "weir.dev/weir/proto/inference"
	servingpb "weir.dev/weir/proto/serving"
)

// callReplica answers every inference call with the revision that it went to as the model's name, and the number of
// input bytes that it got as the id.
func callReplica(w http.ResponseWriter, r *http.Request) {
	answer := func(message func(body []byte) proto.Message) {
		in, err := rpc.NewReader(r, 64<<20)
		if err == nil {
			out := rpc.NewWriter(w, r)
			for {
				body, next := in.Next()
				if next != nil {
					break
				}
				_ = out.Send(message(body))
				_ = out.Flush()
			}
			out.Close()
			return
		}
		rpc.WriteError(w, r, server.Translate(err))
	}
	revision := r.Header.Get("Test-Revision") + " " + r.Header.Get(HeaderTag)
	switch {
	case r.Header.Get("Fail") != "":
		rpc.WriteError(w, r, &server.Error{Status: http.StatusTooManyRequests, Message: "the function's own: 100 %"})
	case strings.HasSuffix(r.URL.Path, "ModelStreamInfer"):
		answer(func([]byte) proto.Message {
			return &inferencepb.ModelStreamInferResponse{InferResponse: &inferencepb.ModelInferResponse{ModelName: revision}}
		})
	case strings.HasPrefix(r.URL.Path, "/tensorflow"):
		answer(func([]byte) proto.Message {
			return &servingpb.PredictResponse{ModelSpec: &servingpb.ModelSpec{Name: revision}}
		})
	default:
		answer(func(body []byte) proto.Message {
			var req inferencepb.ModelInferRequest
			_ = proto.Unmarshal(body, &req)
			n := 0
			for _, b := range req.GetRawInputContents() {
				n += len(b)
			}
			return &inferencepb.ModelInferResponse{ModelName: revision, Id: strings.Repeat("x", min(n, 8))}
		})
	}
}

func (f *fixture) conn(t testing.TB, o ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(f.url, "http://"), append(o, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestDispatchCalls(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, callReplica)})
	conn := f.conn(t)
	v2, predict := inferencepb.NewGRPCInferenceServiceClient(conn), servingpb.NewPredictionServiceClient(conn)
	infer := func(req *inferencepb.ModelInferRequest, o ...grpc.CallOption) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			answer, err := v2.ModelInfer(ctx, req, o...)
			return answer.GetModelName(), err
		}
	}
	serving := func(spec *servingpb.ModelSpec) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			answer, err := predict.Predict(ctx, &servingpb.PredictRequest{ModelSpec: spec})
			return answer.GetModelSpec().GetName(), err
		}
	}
	of := func(size int) *inferencepb.ModelInferRequest {
		return &inferencepb.ModelInferRequest{ModelName: "imagenet", ModelVersion: "2", RawInputContents: [][]byte{make([]byte, size)}}
	}
	byLabel := &servingpb.ModelSpec{Name: "imagenet", VersionChoice: &servingpb.ModelSpec_VersionLabel{VersionLabel: "lite2"}}
	byVersion := &servingpb.ModelSpec{Name: "imagenet", VersionChoice: &servingpb.ModelSpec_Version{Version: wrapperspb.Int64(2)}}
	tests := []struct {
		name   string
		call   func(context.Context) (string, error)
		header []string
		want   string
	}{
		{"by traffic", infer(&inferencepb.ModelInferRequest{ModelName: "imagenet"}), nil, "imagenet-00001 "},
		{"another model", infer(&inferencepb.ModelInferRequest{ModelName: "digits"}), nil, "digits-00001 "},
		{"by version", infer(&inferencepb.ModelInferRequest{ModelName: "imagenet", ModelVersion: "2"}), nil, "imagenet-00002 "},
		{"by tag", infer(&inferencepb.ModelInferRequest{ModelName: "imagenet"}), []string{"x-weir-tag", "lite2"}, "imagenet-00002 lite2"},
		{"by Knative's tag", infer(&inferencepb.ModelInferRequest{ModelName: "imagenet"}), []string{"knative-serving-tag", "lite2"}, "imagenet-00002 "},
		{"version over tag", infer(&inferencepb.ModelInferRequest{ModelName: "imagenet", ModelVersion: "1"}), []string{"x-weir-tag", "lite2"}, "imagenet-00001 lite2"},
		{"large", infer(of(3 << 20)), nil, "imagenet-00002 "},
		{"compressed", infer(of(300<<10), grpc.UseCompressor(gzip.Name)), nil, "imagenet-00002 "},
		{"compressed otherwise", infer(of(300<<10), grpc.UseCompressor(rpc.Deflate)), nil, "imagenet-00002 "},
		{"TensorFlow Serving", serving(&servingpb.ModelSpec{Name: "digits"}), nil, "digits-00001 "},
		{"TensorFlow Serving, version", serving(byVersion), nil, "imagenet-00002 "},
		{"TensorFlow Serving, label", serving(byLabel), nil, "imagenet-00002 lite2"},
		{"TensorFlow Serving, label over tag", serving(byLabel), []string{"x-weir-tag", "lite0"}, "imagenet-00002 lite2"},
		{"a stream", func(ctx context.Context) (string, error) {
			s, err := v2.ModelStreamInfer(ctx)
			if err != nil {
				return "", err
			}
			name := ""
			for range 3 {
				if err := s.Send(&inferencepb.ModelInferRequest{ModelName: "imagenet"}); err != nil {
					return "", err
				}
				answer, err := s.Recv()
				if err != nil {
					return "", err
				}
				name = answer.GetInferResponse().GetModelName()
			}
			return name, s.CloseSend()
		}, nil, "imagenet-00001 "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), tt.header...), soon.Limit)
			defer cancel()
			got, err := tt.call(ctx)
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
	t.Run("by host", func(t *testing.T) {
		t.Parallel()
		conn := f.conn(t, grpc.WithAuthority("lite2-imagenet.default.localhost:8080"))
		got, err := inferencepb.NewGRPCInferenceServiceClient(conn).ModelInfer(t.Context(), &inferencepb.ModelInferRequest{ModelName: "whatever"})
		if err != nil || got.GetModelName() != "imagenet-00002 " {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A client that opens a stream and has nothing to ask has done nothing wrong.
func TestStreamOfNothing(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(http.ResponseWriter, *http.Request) { t.Error("a model was asked") })})
	s, err := inferencepb.NewGRPCInferenceServiceClient(f.conn(t)).ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if answer, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("%v, %v; want the end", answer, err)
	}
}

// TestOwnCalls are answered without waking a model.
func TestOwnCalls(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Version: "v1", Backend: replicaBackend(t, func(http.ResponseWriter, *http.Request) { t.Error("a model was asked") })})
	conn := f.conn(t)
	c := inferencepb.NewGRPCInferenceServiceClient(conn)
	ctx := t.Context()
	if got, err := c.ServerLive(ctx, &inferencepb.ServerLiveRequest{}); err != nil || !got.GetLive() {
		t.Errorf("live: %v, %v", got, err)
	}
	if got, err := c.ServerReady(ctx, &inferencepb.ServerReadyRequest{}); err != nil || !got.GetReady() {
		t.Errorf("ready: %v, %v", got, err)
	}
	if got, err := c.ServerMetadata(ctx, &inferencepb.ServerMetadataRequest{}); err != nil || got.GetName() != "weir" || got.GetVersion() != "v1" {
		t.Errorf("metadata: %v, %v", got, err)
	}
	index, err := c.RepositoryIndex(ctx, &inferencepb.RepositoryIndexRequest{})
	var list []string
	for _, m := range index.GetModels() {
		list = append(list, m.GetName()+"/"+m.GetVersion()+" "+m.GetState())
	}
	if got := strings.Join(list, ", "); err != nil || got != "digits/1 READY, imagenet/1 READY, imagenet/2 READY" {
		t.Errorf("index: %s, %v", got, err)
	}
	if _, err := c.RepositoryModelUnload(ctx, &inferencepb.RepositoryModelUnloadRequest{ModelName: "digits"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("unload: %v", err)
	}
	h := healthpb.NewHealthClient(conn)
	if got, err := h.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health: %v, %v", got, err)
	}
	if _, err := h.Check(ctx, &healthpb.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Errorf("health of an unknown service: %v", err)
	}
}

// TestCallErrors has every way in which a call fails before, at and after the model.
func TestCallErrors(t *testing.T) {
	t.Parallel()
	good := replicaBackend(t, callReplica)
	var woken atomic.Int32
	backend := &fakeBackend{RoundTripFn: func(r *http.Request) (*http.Response, error) {
		woken.Add(1)
		switch r.Header.Get("Backend") {
		case "overloaded":
			return nil, knative.ErrOverloaded
		case "lost":
			return nil, knative.ErrLost
		case "hangs":
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		case "broken":
			return nil, errors.New("secret")
		}
		return good.RoundTrip(r)
	}}
	f := start(t, Options{Backend: backend, Limits: Limits{Body: 4096}})
	conn := f.conn(t)
	c := inferencepb.NewGRPCInferenceServiceClient(conn)
	digits := &inferencepb.ModelInferRequest{ModelName: "digits"}
	tests := []struct {
		name   string
		req    *inferencepb.ModelInferRequest
		header []string
		limit  time.Duration
		code   codes.Code
		want   string
		woken  bool
	}{
		{"no model", &inferencepb.ModelInferRequest{}, nil, 0, codes.InvalidArgument, "names no model", false},
		{"unknown model", &inferencepb.ModelInferRequest{ModelName: "cats"}, nil, 0, codes.NotFound, `no such model "cats": there are digits, imagenet`, false},
		{"unknown version", &inferencepb.ModelInferRequest{ModelName: "digits", ModelVersion: "9"}, nil, 0, codes.NotFound, "no version 9", false},
		{"a version that is none", &inferencepb.ModelInferRequest{ModelName: "digits", ModelVersion: "x"}, nil, 0, codes.InvalidArgument, "is not a whole number", false},
		{"unknown tag", digits, []string{"x-weir-tag", "nope"}, 0, codes.NotFound, `no tag "nope"`, false},
		{"contradicting tags", digits, []string{"x-weir-tag", "a", "knative-serving-tag", "b"}, 0, codes.InvalidArgument, "contradicts", false},
		{"a time-out that is none", digits, []string{"x-weir-timeout", "soon"}, 0, codes.InvalidArgument, "X-Weir-Timeout", false},
		{"too large", &inferencepb.ModelInferRequest{ModelName: "digits", Id: strings.Repeat("x", 5000)}, nil, 0, codes.ResourceExhausted, "over the limit of 4096", false},
		{"overloaded", digits, []string{"backend", "overloaded"}, 0, codes.Unavailable, "queue is full", true},
		{"lost", digits, []string{"backend", "lost"}, 0, codes.Unavailable, "replica was lost", true},
		{"the client's deadline", digits, []string{"backend", "hangs"}, 50 * time.Millisecond, codes.DeadlineExceeded, "", true},
		{"the request's deadline", digits, []string{"backend", "hangs", "x-weir-timeout", "50ms"}, 0, codes.DeadlineExceeded, "deadline exceeded", true},
		{"anything else", digits, []string{"backend", "broken"}, 0, codes.Unavailable, "did not answer", true},
		{"the function's own", digits, []string{"fail", "1"}, 0, codes.ResourceExhausted, "the function's own: 100 %", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := woken.Load()
			ctx := metadata.AppendToOutgoingContext(t.Context(), tt.header...)
			infer := func(limit time.Duration) error {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				_, err := c.ModelInfer(ctx, tt.req)
				return err
			}
			err := infer(cmp.Or(tt.limit, 20*time.Second))
			// On a busy machine a short one ends before the call has come to the model.
			for limit := 2 * tt.limit; limit > 0 && woken.Load() == before; limit *= 2 {
				err = infer(limit)
			}
			if status.Code(err) != tt.code || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v; want %v and %q", err, tt.code, tt.want)
			}
			if got := woken.Load() > before; got != tt.woken {
				t.Errorf("woken: %v", got)
			}
			if _, err := c.ModelInfer(t.Context(), digits); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
	_, err := servingpb.NewPredictionServiceClient(conn).Predict(t.Context(), &servingpb.PredictRequest{})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("no spec: %v", err)
	}
	err = conn.Invoke(t.Context(), "/no.Service/Method", &inferencepb.ServerLiveRequest{}, &inferencepb.ServerLiveResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("unknown method: %v", err)
	}
}

// TestCallStatus puts a call's own status into the access line and the metrics.
func TestCallStatus(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, callReplica)})
	c := inferencepb.NewGRPCInferenceServiceClient(f.conn(t))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "fail", "1")
	if _, err := c.ModelInfer(ctx, &inferencepb.ModelInferRequest{ModelName: "digits"}); err == nil {
		t.Fatal("no error")
	}
	if _, err := c.ModelInfer(t.Context(), &inferencepb.ModelInferRequest{ModelName: "digits"}); err != nil {
		t.Fatal(err)
	}
	metrics := f.do(t, ask{method: "GET", path: "/metrics"}).body
	for _, want := range []string{`code="429",model="digits"`, `code="200",model="digits"`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if log := f.log.String(); !strings.Contains(log, `"rpc":429`) {
		t.Errorf("no status of the call in %s", log)
	}
}

func TestPeek(t *testing.T) {
	t.Parallel()
	request := &inferencepb.ModelInferRequest{ModelName: "digits", ModelVersion: "1", Id: strings.Repeat("x", 10000)}
	b, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	where := modelField{name: 1, version: 2}
	for _, n := range []int{0, 1, 5, 8, 11} {
		if found, enough, err := where.find(b[:n], false); enough || err != nil {
			t.Errorf("%d bytes: %v, %v, %v", n, found, enough, err)
		}
	}
	found, enough, err := where.find(b[:20], false)
	if want := (modelName{name: "digits", version: "1"}); !enough || err != nil || found != want {
		t.Errorf("20 bytes: %v, %v, %v", found, enough, err)
	}
	// The fields in another order, which only the whole message shows.
	late := append(append([]byte{}, b[11:]...), b[:11]...)
	if found, enough, err := where.find(late, true); !enough || err != nil || found.name != "digits" {
		t.Errorf("another order: %v, %v, %v", found, enough, err)
	}
	for _, broken := range []string{"\x0a\x09t", "\x0f", "\xff", "\x0a"} {
		if _, _, err := where.find([]byte(broken), true); err == nil {
			t.Errorf("%q is taken", broken)
		}
	}
	tasks := &servingpb.MultiInferenceRequest{Tasks: []*servingpb.InferenceTask{
		{ModelSpec: &servingpb.ModelSpec{Name: "half"}}, {ModelSpec: &servingpb.ModelSpec{Name: "other"}},
	}}
	b, err = proto.Marshal(tasks)
	if err != nil {
		t.Fatal(err)
	}
	if found, _, err := namesModel["/tensorflow.serving.PredictionService/MultiInference"].find(b, true); err != nil || found.name != "half" {
		t.Errorf("tasks: %v, %v", found, err)
	}
}

func FuzzPeek(f *testing.F) {
	f.Add([]byte("\x0a\x06digits\x12\x011"))
	f.Add([]byte("\x0a\x08\x0a\x06digits"))
	f.Fuzz(func(t *testing.T, message []byte) {
		for path, where := range namesModel {
			found, _, err := where.find(message, true)
			if err == nil {
				_, _ = found.hints()
			}
			if path != rpc.StreamPath {
				continue
			}
			// What protocol buffers' own reader takes is read in the same way.
			var req inferencepb.ModelInferRequest
			if proto.Unmarshal(message, &req) == nil && (err != nil || found.name != req.GetModelName()) && !reordered(message) {
				t.Errorf("%q: %v, %v; want %q", message, found, err, req.GetModelName())
			}
		}
	})
}

// reordered says that a name may follow a later field, which is not looked for once there is a name.
func reordered(message []byte) bool {
	var req inferencepb.ModelInferRequest
	if proto.Unmarshal(message, &req) != nil {
		return true
	}
	ordered, err := proto.MarshalOptions{Deterministic: true}.Marshal(&req)
	return err != nil || string(ordered) != string(message)
}
