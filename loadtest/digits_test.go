package loadtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	tfpb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_go_proto"
	shapepb "github.com/galeone/tensorflow/tensorflow/go/core/framework/tensor_shape_go_proto"
	typespb "github.com/galeone/tensorflow/tensorflow/go/core/framework/types_go_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/scenario"
	inferencepb "weir.dev/weir/proto/inference"
	servingpb "weir.dev/weir/proto/serving"
)

// digitsBytes is the image of digitsJSON as a tensor's memory.
func digitsBytes() []byte {
	row := []float32{0, .5, 1, .25, 0, 0, 0, 0}
	var b []byte
	for range 8 {
		for _, f := range row {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
		}
	}
	return b
}

// BenchmarkDigits is the small model, 32 callers, through weir up and from one replica without weir in front, by turns: JSON
// over REST, the Open Inference Protocol over gRPC with raw contents, TensorFlow Serving's Predict. All share the cores: the
// processor time of a prediction through the router is told for each process.
func BenchmarkDigits(b *testing.B) {
	w := startWeir(b, "-f", harness.Path("knative/20-digits.yaml"))
	url := startFunction(b, "digits", "digits/1")
	replica := strings.TrimPrefix(url, "http://")
	image := digitsBytes()
	for _, api := range []struct {
		name string
		ask  func(b *testing.B, addr string) func() error
	}{
		{"rest", func(_ *testing.B, addr string) func() error {
			return post("http://"+addr+"/v1/models/digits:predict", "application/json", digitsJSON)
		}},
		{"infer", func(b *testing.B, addr string) func() error { return infer(connect(b, addr), image) }},
		{"predict", func(b *testing.B, addr string) func() error { return predict(connect(b, addr), image) }},
	} {
		b.Run(api.name, func(b *testing.B) {
			through, direct := api.ask(b, w.Addr), api.ask(b, replica)
			if err := through(); err != nil { // the cold start
				b.Fatal(err)
			}
			rate(b, 32, time.Second, through) // both warm
			rate(b, 32, time.Second, direct)
			pids, err := w.Replicas()
			if err != nil || len(pids) != 1 {
				b.Fatal(pids, err)
			}
			parts := []int{os.Getpid(), w.PID(), pids[0]}
			spent := make([]float64, len(parts))
			var ours, alone, ratios []float64
			for b.Loop() {
				for range 4 {
					before := processorTime(b, parts)
					ours = append(ours, rate(b, 32, time.Second, through))
					for i, d := range processorTime(b, parts) {
						spent[i] += (d - before[i]).Seconds()
					}
					alone = append(alone, rate(b, 32, time.Second, direct))
					ratios = append(ratios, ours[len(ours)-1]/alone[len(alone)-1])
				}
			}
			all := 0.0
			for _, r := range ours {
				all += r
			}
			b.ReportMetric(median(ours), "predictions/s")
			b.ReportMetric(median(alone), "replica-predictions/s")
			b.ReportMetric(median(ratios), "ratio")
			for i, unit := range []string{"sender-µs", "router-µs", "replica-µs"} {
				b.ReportMetric(1e6*spent[i]/all, unit)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// processorTime is what each process has used.
func processorTime(b *testing.B, pids []int) []time.Duration {
	b.Helper()
	var all []time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		// proc_pid_stat(5): the 14th and 15th field, in hundredths of a second; the name, the 2nd, may have spaces.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		all = append(all, time.Duration(user+system)*10*time.Millisecond)
	}
	return all
}

// connect returns connections to share among callers, as clients that ask much do.
func connect(b *testing.B, addr string) func() *grpc.ClientConn {
	b.Helper()
	var conns [4]*grpc.ClientConn
	for i := range conns {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
	}
	var n atomic.Uint64
	return func() *grpc.ClientConn { return conns[n.Add(1)%uint64(len(conns))] }
}

func infer(conn func() *grpc.ClientConn, image []byte) func() error {
	req := &inferencepb.ModelInferRequest{
		ModelName:        "digits",
		Inputs:           []*inferencepb.ModelInferRequest_InferInputTensor{{Name: "images", Datatype: "FP32", Shape: []int64{1, 8, 8, 1}}},
		RawInputContents: [][]byte{image},
	}
	return func() error {
		_, err := inferencepb.NewGRPCInferenceServiceClient(conn()).ModelInfer(context.Background(), req)
		return err
	}
}

func predict(conn func() *grpc.ClientConn, image []byte) func() error {
	shape := &shapepb.TensorShapeProto{}
	for _, n := range []int64{1, 8, 8, 1} {
		shape.Dim = append(shape.Dim, &shapepb.TensorShapeProto_Dim{Size: n})
	}
	req := &servingpb.PredictRequest{
		ModelSpec: &servingpb.ModelSpec{Name: "digits"},
		Inputs:    map[string]*tfpb.TensorProto{"images": {Dtype: typespb.DataType_DT_FLOAT, TensorShape: shape, TensorContent: image}},
	}
	return func() error {
		_, err := servingpb.NewPredictionServiceClient(conn()).Predict(context.Background(), req)
		return err
	}
}

// BenchmarkHalfPeak asks the small model for half of what it answers at most, whatever the answers (open loop), and
// reports how long they take from when each was due: one replica alone and through weir up.
func BenchmarkHalfPeak(b *testing.B) {
	w := startWeir(b, "-f", harness.Path("knative/20-digits.yaml"))
	for _, side := range []struct{ name, url string }{
		{"replica", startFunction(b, "digits", "digits/1")}, {"router", w.URL("")},
	} {
		b.Run(side.name, func(b *testing.B) {
			url := side.url + "/v1/models/digits:predict"
			f := post(url, "application/json", digitsJSON)
			if err := f(); err != nil { // the cold start
				b.Fatal(err)
			}
			rate(b, 32, time.Second, f)
			var p50, p99, peaks, refused []float64
			for b.Loop() {
				peak := rate(b, 32, 2*time.Second, f)
				ms, failed := openLoop(b, url, peak/2, 4*time.Second)
				refused = append(refused, 100*float64(failed)/float64(len(ms)))
				at := func(p float64) float64 { return ms[int(p*float64(len(ms)))] }
				peaks, p50, p99 = append(peaks, peak), append(p50, at(.5)), append(p99, at(.99))
			}
			b.ReportMetric(median(peaks)/2, "predictions/s")
			b.ReportMetric(median(p50), "p50-ms")
			b.ReportMetric(median(p99), "p99-ms")
			b.ReportMetric(median(refused), "refused-%")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// openLoop sends so many requests a second and returns in order how many milliseconds each took since it was due, and how
// many were not answered well.
func openLoop(b *testing.B, url string, rate float64, d time.Duration) (ms []float64, failed int) {
	b.Helper()
	var mu sync.Mutex
	g, err := attack.New(scenario.Load{
		Name: "half", Target: scenario.Target{URL: url, Timeout: 10 * time.Second},
		Inputs: []scenario.Input{{ContentType: "application/json", Body: digitsJSON}},
		Stages: []scenario.Stage{{Name: "half", Duration: d, Arrivals: &scenario.Arrivals{From: rate, To: rate}}},
	}, attack.Options{URL: url, Done: func(s attack.Shot) {
		mu.Lock()
		defer mu.Unlock()
		if !s.OK() {
			failed++
		}
		ms = append(ms, float64((s.Latency+s.Sent.Sub(s.Due)).Microseconds())/1000)
	}})
	if err != nil {
		b.Fatal(err)
	}
	g.Run(b.Context())
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(ms)
	return ms, failed
}
