package serve

import (
	"context"
	"net/http"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	pb "weir.dev/weir/proto/inference"
)

// statistics are Triton's: what has happened to the model since the process started.
type statistics struct {
	mu                     sync.Mutex
	last                   time.Time
	inferences, executions uint64
	success, fail, compute duration
}

type duration struct {
	Count uint64 `json:"count"`
	NS    uint64 `json:"ns"`
}

func (d *duration) add(took time.Duration) {
	d.Count++
	d.NS += uint64(took)
}

// observe counts a request that ended.
func (s *statistics) observe(status int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status >= 400 {
		s.fail.add(took)
		return
	}
	s.success.add(took)
}

// counted is a Model whose predictions are counted.
type counted struct {
	model.Model
	statistics *statistics
}

// Predict implements model.Model.
func (c counted) Predict(ctx context.Context, req model.Request) (model.Response, error) {
	start := time.Now()
	out, err := c.Model.Predict(ctx, req)
	if err == nil {
		c.statistics.predicted(req, start)
	}
	return out, err
}

func (s *statistics) predicted(req model.Request, start time.Time) {
	rows := int64(1)
	for _, t := range req.Inputs {
		if len(t.Shape) > 0 {
			rows = max(rows, t.Shape[0])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
	s.inferences += uint64(rows)
	s.executions++
	s.compute.add(s.last.Sub(start))
}

type v2Statistics struct {
	Name           string              `json:"name"`
	Version        string              `json:"version"`
	LastInference  uint64              `json:"last_inference"` // milliseconds since 1970
	InferenceCount uint64              `json:"inference_count"`
	ExecutionCount uint64              `json:"execution_count"`
	InferenceStats map[string]duration `json:"inference_stats"`
}

// of tells the statistics of the model that is served.
func (s *statistics) of(st *state) v2Statistics {
	s.mu.Lock()
	defer s.mu.Unlock()
	none := duration{Count: s.compute.Count}
	v := v2Statistics{
		Name: st.meta.Name, Version: st.version(), InferenceCount: s.inferences, ExecutionCount: s.executions,
		InferenceStats: map[string]duration{
			"success": s.success, "fail": s.fail, "compute_infer": s.compute,
			// Requests wait before the replicas and not in them, and decoding and encoding count in success alone: these took no
			// time. They happened as often, though, and perf_analyzer ends where that does not agree.
			"queue": none, "compute_input": none, "compute_output": none, "cache_hit": {}, "cache_miss": {},
		},
	}
	if !s.last.IsZero() {
		v.LastInference = uint64(s.last.UnixMilli())
	}
	return v
}

func serveV2Statistics(s *Server, st *state, w http.ResponseWriter, r *http.Request) error {
	if t := exchangeOf(r).target; t.model != "" {
		if err := checkTarget(st, t); err != nil {
			return err
		}
	}
	return encodeJSON(w, struct {
		Models []v2Statistics `json:"model_stats"`
	}{[]v2Statistics{s.statistics.of(st)}})
}

func rpcStatistics(_ context.Context, s *Server, st *state, req *pb.ModelStatisticsRequest) (proto.Message, error) {
	if req.GetName() != "" {
		if err := checkTarget(st, target{model: req.GetName(), version: req.GetVersion()}); err != nil {
			return nil, err
		}
	}
	v := s.statistics.of(st)
	of := func(name string) *pb.StatisticDuration {
		d := v.InferenceStats[name]
		return &pb.StatisticDuration{Count: d.Count, Ns: d.NS}
	}
	return &pb.ModelStatisticsResponse{ModelStats: []*pb.ModelStatistics{{
		Name: v.Name, Version: v.Version, LastInference: v.LastInference, InferenceCount: v.InferenceCount, ExecutionCount: v.ExecutionCount,
		InferenceStats: &pb.InferStatistics{
			Success: of("success"), Fail: of("fail"), Queue: of("queue"), ComputeInput: of("compute_input"),
			ComputeInfer: of("compute_infer"), ComputeOutput: of("compute_output"), CacheHit: of("cache_hit"), CacheMiss: of("cache_miss"),
		},
	}}}, nil
}
