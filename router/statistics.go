package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/server"
	inferencepb "weir.dev/weir/proto/inference"
)

const (
	// statisticsLimit is how long a replica may take to tell its statistics, maxStatistics how long they may be.
	statisticsLimit = 5 * time.Second
	maxStatistics   = 1 << 20
	// pathStatistics and callStatistics, without a name, are those of all models: so V2 has no metadata of a model named stats.
	pathStatistics = "/v2/models/stats"
	callStatistics = "/inference.GRPCInferenceService/ModelStatistics"
)

var errLongStatistics = fmt.Errorf("its statistics are longer than %d bytes", maxStatistics)

// statisticsV2 answers Triton's statistics of all models.
func (rt *Router) statisticsV2(w http.ResponseWriter, r *http.Request) error {
	all, err := rt.statistics(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, all)
}

// statisticsCall is the same over gRPC: what replicas say as JSON has the fields of the message.
func (rt *Router) statisticsCall(ctx context.Context, _ proto.Message) (proto.Message, error) {
	all, err := rt.statistics(ctx)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("write the answer: %w", err)
	}
	answer := &inferencepb.ModelStatisticsResponse{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, answer); err != nil {
		return nil, &server.Error{Status: http.StatusBadGateway, Message: "a model's statistics are not Triton's", Err: err}
	}
	return answer, nil
}

// modelStatistics is Triton's answer: an entry for each version.
type modelStatistics struct {
	Models []json.RawMessage `json:"model_stats"`
}

// statistics asks a replica of every revision that has one. The others are left out, since being asked would start them, and so
// is what gives no statistics: a function that is not weir's, or whose last replica went at this moment, or which has too many.
func (rt *Router) statistics(ctx context.Context) (modelStatistics, error) {
	all := modelStatistics{Models: []json.RawMessage{}}
	services, err := rt.backend.Status(ctx)
	if err != nil {
		return all, fmt.Errorf("read what runs: %w", err)
	}
	type asked struct{ model, revision string }
	var ready []asked
	for _, s := range services {
		for _, r := range s.Revisions {
			if s.Model && s.Name != rt.self && r.Ready > 0 {
				ready = append(ready, asked{s.Name, r.Name})
			}
		}
	}
	said := make([][]json.RawMessage, len(ready))
	var g errgroup.Group
	g.SetLimit(batchAtOnce)
	for i, a := range ready {
		g.Go(func() error {
			one, err := rt.askStatistics(ctx, a.model, a.revision)
			if err != nil {
				rt.noStatistics(a.revision, err)
			}
			said[i] = one.Models
			return nil
		})
	}
	_ = g.Wait() // none fails
	for _, s := range said {
		all.Models = append(all.Models, s...)
	}
	return all, ctx.Err()
}

func (rt *Router) askStatistics(ctx context.Context, model, revision string) (said modelStatistics, err error) {
	ctx, cancel := context.WithTimeout(ctx, statisticsLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+revision+prefixV2+model+"/stats", nil)
	if err != nil {
		return said, err
	}
	res, err := rt.backend.RoundTrip(req)
	if err != nil {
		return said, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return said, fmt.Errorf("status %d", res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxStatistics+1))
	if err != nil {
		return said, err
	}
	if len(data) > maxStatistics {
		return said, errLongStatistics
	}
	err = json.Unmarshal(data, &said)
	return said, err
}

// noStatistics logs why a revision is left out. Only statistics that are too long are a surprise: of those each revision has a
// warning, the first time.
func (rt *Router) noStatistics(revision string, err error) {
	level := zerolog.DebugLevel
	if errors.Is(err, errLongStatistics) {
		if _, said := rt.tooLong.LoadOrStore(revision, true); !said {
			level = zerolog.WarnLevel
		}
	}
	rt.log.WithLevel(level).Err(err).Str("revision", revision).Msg("left out of the statistics")
}
