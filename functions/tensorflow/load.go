package tensorflow

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	tf "github.com/galeone/tensorflow/tensorflow/go"
	node "github.com/galeone/tensorflow/tensorflow/go/core/framework/node_def_go_proto"
	pb "github.com/galeone/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	tg "github.com/galeone/tfgo"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
)

// Platform is what the Open Inference Protocol calls this runtime.
const Platform = "tensorflow_savedmodel"

// tagServe marks the graph of a SavedModel that is for serving.
const tagServe = "serve"

// Options of Load. The zero value works.
type Options struct {
	// Name is the model's name. If empty, the name of the SavedModel's folder.
	Name string
	// Version is the model's version. If zero, the number of the version folder, or 1 if it has none.
	Version int64
	// Labels are names for this version.
	Labels []string
	// IntraOpThreads is how many threads one operation uses; if zero, 1: with several callers, threads of one
	// operation only get in each other's way. InterOpThreads is how many predictions run side by side; if zero, as many
	// as there are processors.
	IntraOpThreads, InterOpThreads int
	// Image says how encoded images become the input of a model that takes only float images.
	Image Image
	// MaxPixels bounds an encoded image's width x height. If zero, 50 million.
	MaxPixels int
	// Observe is told what the phases of the start took. If nil, nobody is.
	Observe func(phase Phase, took time.Duration)
	// SkipWarm leaves the first, slow predictions to the first callers.
	SkipWarm bool
}

// Phase is a part of Load.
type Phase string

// The phases of Load.
const (
	PhaseLoad Phase = "load"
	PhaseWarm Phase = "warm"
)

func (o Options) withDefaults() Options {
	if o.Observe == nil {
		o.Observe = func(Phase, time.Duration) {}
	}
	if o.IntraOpThreads == 0 {
		o.IntraOpThreads = 1
	}
	if o.InterOpThreads == 0 {
		o.InterOpThreads = runtime.GOMAXPROCS(0)
	}
	if o.MaxPixels == 0 {
		o.MaxPixels = 50_000_000
	}
	return o
}

// savedModel is a SavedModel in a session.
type savedModel struct {
	o         Options
	meta      model.Metadata
	endpoints map[string]endpoint
	session   *tg.Model
	convert   converter
	images    *preprocessor // nil if the model takes encoded images itself, or none
	runs      sync.WaitGroup
	// places has an element for each prediction that TensorFlow knows of. There are twice as many as it runs side by side, so that
	// another one is ready when a thread is; each takes memory for what is between its layers, and a thread of the process.
	places chan struct{}
}

// endpoint is where a signature's tensors are in the graph, by their names in the signature.
type endpoint struct{ inputs, outputs map[string]tf.Output }

// Load loads the SavedModel in dir, or the highest version in a folder of version folders, and warms it up: every
// signature that can be called without knowing the model has been called once.
func Load(ctx context.Context, dir string, o Options) (model.Model, error) {
	o = o.withDefaults()
	start := time.Now()
	dir, version, err := versionFolder(dir)
	if err != nil {
		return nil, err
	}
	if o.Version == 0 {
		o.Version = version
	}
	if o.Name == "" {
		o.Name = filepath.Base(filepath.Dir(dir))
	}
	graph, err := readMetaGraph(dir)
	if err != nil {
		return nil, err
	}
	config, err := proto.Marshal(&pb.ConfigProto{
		// What was optimised when it was exported (functions/export/frozen.py) is only slower to load if it is again.
		GraphOptions:              &pb.GraphOptions{RewriteOptions: &pb.RewriterConfig{DisableMetaOptimizer: isOptimised(graph)}},
		IntraOpParallelismThreads: int32(o.IntraOpThreads),
		InterOpParallelismThreads: int32(o.InterOpThreads),
	})
	if err != nil {
		return nil, fmt.Errorf("session options: %w", err)
	}
	m := &savedModel{o: o, endpoints: map[string]endpoint{}, places: make(chan struct{}, 2*max(o.InterOpThreads, 1))}
	m.meta = model.Metadata{Name: o.Name, Version: o.Version, Labels: o.Labels, Platform: Platform, Signatures: map[string]model.Signature{}}
	if err := guard(func() { m.session = tg.LoadModel(dir, []string{tagServe}, &tf.SessionOptions{Config: config}) }); err != nil {
		return nil, fmt.Errorf("load %s: %w", dir, err)
	}
	if err := m.addSignatures(graph); err != nil {
		return nil, fmt.Errorf("load %s: %w", dir, err)
	}
	if err := m.addImages(config); err != nil {
		return nil, fmt.Errorf("load %s: image input: %w", dir, err)
	}
	loaded := time.Now()
	o.Observe(PhaseLoad, loaded.Sub(start))
	if !o.SkipWarm {
		if err := m.warm(ctx); err != nil {
			return nil, fmt.Errorf("warm up %s: %w%s", dir, err, withoutOneDNN())
		}
		o.Observe(PhaseWarm, time.Since(loaded))
	}
	return m, nil
}

// versionFolder finds the SavedModel that dir means and its version.
func versionFolder(dir string) (string, int64, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", 0, err
	}
	if isSavedModel(dir) {
		version, err := strconv.ParseInt(filepath.Base(dir), 10, 64)
		if err != nil || version < 1 {
			version = 1
		}
		return dir, version, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", 0, fmt.Errorf("model folder: %w", err)
	}
	highest := int64(0)
	name := ""
	for _, e := range entries {
		v, err := strconv.ParseInt(e.Name(), 10, 64)
		if err == nil && v > highest && isSavedModel(filepath.Join(dir, e.Name())) {
			highest, name = v, e.Name()
		}
	}
	if highest == 0 {
		return "", 0, fmt.Errorf("%s is no SavedModel: it has neither saved_model.pb nor version folders (1, 2, …) with one", dir)
	}
	return filepath.Join(dir, name), highest, nil
}

func isSavedModel(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "saved_model.pb"))
	return err == nil && info.Mode().IsRegular()
}

// readMetaGraph reads the graph for serving: tfgo does not show its signatures.
func readMetaGraph(dir string) (*pb.MetaGraphDef, error) {
	data, err := os.ReadFile(filepath.Join(dir, "saved_model.pb"))
	if err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	var saved pb.SavedModel
	if err := proto.Unmarshal(data, &saved); err != nil {
		return nil, fmt.Errorf("%s/saved_model.pb is no SavedModel: %w", dir, err)
	}
	for _, g := range saved.GetMetaGraphs() {
		for _, tag := range g.GetMetaInfoDef().GetTags() {
			if tag == tagServe {
				return g, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no graph with the tag %q: export it for serving", dir, tagServe)
}

// isOptimised says whether a graph has been through TensorFlow's optimisers: only they make fused operations.
func isOptimised(graph *pb.MetaGraphDef) bool {
	return slices.ContainsFunc(graph.GetGraphDef().GetNode(), func(n *node.NodeDef) bool { return strings.HasPrefix(n.GetOp(), "_Fused") })
}

// Metadata says what the model is.
func (m *savedModel) Metadata() model.Metadata { return m.meta }

// Close waits for running predictions. The session's memory is freed by tfgo's finalizer: tfgo has no other way.
func (m *savedModel) Close() error {
	m.runs.Wait()
	m.session, m.images = nil, nil
	runtime.GC()
	return nil
}
