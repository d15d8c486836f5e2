package functions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"weir.dev/weir/functions/batch"
	"weir.dev/weir/functions/model"
	"weir.dev/weir/functions/serve"
	"weir.dev/weir/functions/source"
	"weir.dev/weir/functions/tensorflow"
	"weir.dev/weir/internal/report"
)

// function is a server with the model that it serves or will serve.
type function struct {
	s      settings
	o      Options
	log    zerolog.Logger
	rows   *prometheus.HistogramVec
	server *serve.Server
	model  model.Model    // nil before load
	batch  *batch.Batcher // nil if requests are not put together

	mu   sync.Mutex
	said report.Replica
}

// newFunction checks the settings and makes a server that is not ready.
func (s settings) newFunction(o Options, log zerolog.Logger) (*function, error) {
	level, err := zerolog.ParseLevel(s.logLevel)
	if err != nil {
		return nil, fmt.Errorf("--log-level %q: it is debug, info, warn or error", s.logLevel)
	}
	if _, _, err := s.batchSize(); err != nil {
		return nil, err
	}
	f := &function{s: s, o: o, log: log.Level(level), rows: newRows(s.name), said: report.Replica{Began: s.began}}
	f.server, err = serve.New(serve.Options{
		Name: s.name, Log: f.log, Limits: s.limits, Metrics: []prometheus.Collector{f.rows}, Report: f.report,
	})
	return f, err
}

func newRows(name string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "weir_function_batch_rows", Help: "Rows in a run of the model, by signature, where requests are put together.",
		ConstLabels: prometheus.Labels{"model": name}, Buckets: prometheus.ExponentialBuckets(1, 2, 9),
	}, []string{"signature"})
}

// batchSize reads the setting: at most so many rows, 0 for batch's own choice; off says that there are no batches.
func (s settings) batchSize() (size int, off bool, err error) {
	switch s.batch {
	case "off", "1":
		return 0, true, nil
	case "", "auto":
		return 0, false, nil
	}
	size, err = strconv.Atoi(s.batch)
	if err != nil || size < 1 {
		return 0, false, fmt.Errorf("--batch %q: it is auto, off or the rows of a batch at most", s.batch)
	}
	return size, false, nil
}

// load fetches and loads the model, puts batches and the hooks around it and makes the server ready.
func (f *function) load(ctx context.Context) error {
	start := time.Now()
	dir, err := source.Fetch(ctx, f.s.model, source.Options{Cache: f.s.cache, Log: f.log})
	if err != nil {
		return err
	}
	o := f.s.tensorflow
	o.Name = f.s.name
	o.Observe = f.observe
	m, err := tensorflow.Load(ctx, dir, o)
	if err != nil {
		return err
	}
	if size, off, _ := f.s.batchSize(); !off {
		f.batch = batch.New(m, batch.Options{
			Size: size, Always: size > 0, Parallel: f.s.tensorflow.InterOpThreads,
			Observe: func(signature string, rows int) { f.rows.WithLabelValues(signature).Observe(float64(rows)) },
		})
		m = f.batch
	}
	for _, h := range f.o.Hooks {
		m = model.WithHook(m, h)
	}
	if f.s.delay > 0 {
		f.log.Warn().Dur("ms", f.s.delay).Msg("every prediction is delayed: --delay-for-load-tests")
		m = model.WithDelay(m, f.s.delay)
	}
	f.model = m
	folder, err := tensorflow.Folder(dir)
	if err != nil {
		return err
	}
	warmed, err := serve.WarmUp(ctx, m, folder)
	if err != nil {
		return err
	}
	f.server.SetModel(m)
	meta := m.Metadata()
	f.log.Info().Str("model", meta.Name).Int64("version", meta.Version).Str("from", f.s.model).
		Int("warm_up_requests", warmed).Dur("ms", time.Since(start)).Dur("load", seconds(f.said.Load)).Dur("warm", seconds(f.said.Warm)).Msg("model is ready")
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// observe notes what a phase of the start took.
func (f *function) observe(phase tensorflow.Phase, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch phase {
	case tensorflow.PhaseLoad:
		f.said.Load = took.Seconds()
	case tensorflow.PhaseWarm:
		f.said.Warm = took.Seconds()
	}
}

// measure decides which signatures are batched. Requests are answered meanwhile: it would lengthen a cold start.
func (f *function) measure(ctx context.Context) {
	defer tensorflow.Trim()
	decisions := f.notBatched()
	if f.batch != nil {
		decisions = f.batch.Measure(ctx, tensorflow.SampleRow)
	}
	for _, d := range decisions {
		f.log.Info().Str("signature", d.Signature).Bool("on", d.On).Int("size", d.Size).Dur("alone", seconds(d.Alone)).
			Dur("together", seconds(d.Together)).Str("why", d.Reason).Msg("batching")
	}
	f.mu.Lock()
	f.said.Batching = decisions
	f.mu.Unlock()
}

// notBatched are the decisions of who set --batch off.
func (f *function) notBatched() []report.Batching {
	var all []report.Batching
	for _, name := range slices.Sorted(maps.Keys(f.model.Metadata().Signatures)) {
		all = append(all, report.Batching{Signature: name, Reason: "as set"})
	}
	return all
}

// report is what the replica says of itself.
func (f *function) report() report.Replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said
}

func (f *function) close() error {
	if f.model == nil {
		return nil
	}
	return f.model.Close()
}
