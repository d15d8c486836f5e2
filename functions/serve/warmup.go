package serve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	pb "weir.dev/weir/proto/serving"
)

// TensorFlow Serving's bounds of a SavedModel's warm-up requests, and one of our own: a record larger than a request
// may be is none.
const (
	warmupFile    = "assets.extra/tf_serving_warmup_requests"
	maxWarmups    = 1000
	maxWarmupSize = 64 << 20
)

// WarmUp runs the requests that a SavedModel brings along to be warmed up with, as TensorFlow Serving does, and says how
// many there were. A folder without them has none. One that the model refuses is an error, for it is not what the model
// was exported to answer.
func WarmUp(ctx context.Context, m model.Model, folder string) (int, error) {
	file, err := os.Open(filepath.Join(folder, warmupFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("warm up: %w", err)
	}
	defer func() { _ = file.Close() }()
	st := &state{model: m, meta: m.Metadata()}
	for n := 0; ; n++ {
		record, err := readRecord(file)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err == nil && n == maxWarmups {
			err = fmt.Errorf("there are more than %d", maxWarmups)
		}
		var log pb.PredictionLog
		if err == nil {
			err = proto.Unmarshal(record, &log)
		}
		if err == nil {
			err = warmUp(ctx, st, &log)
		}
		if err != nil {
			return n, fmt.Errorf("warm up: request %d of %s: %w", n+1, warmupFile, err)
		}
	}
}

// warmUp runs one request. It is for this model, whatever name it was recorded under.
func warmUp(ctx context.Context, st *state, log *pb.PredictionLog) error {
	spec := func(recorded *pb.ModelSpec) *pb.ModelSpec {
		return &pb.ModelSpec{Name: st.meta.Name, SignatureName: recorded.GetSignatureName()}
	}
	var err error
	switch l := log.GetLogType().(type) {
	case *pb.PredictionLog_PredictLog:
		req := l.PredictLog.GetRequest()
		_, err = predictSpec(ctx, st, &pb.PredictRequest{ModelSpec: spec(req.GetModelSpec()), Inputs: req.GetInputs(), OutputFilter: req.GetOutputFilter()})
	case *pb.PredictionLog_ClassifyLog:
		req := l.ClassifyLog.GetRequest()
		_, _, err = classify(ctx, st, spec(req.GetModelSpec()), req.GetInput())
	case *pb.PredictionLog_RegressLog:
		req := l.RegressLog.GetRequest()
		_, _, err = regress(ctx, st, spec(req.GetModelSpec()), req.GetInput())
	case *pb.PredictionLog_MultiInferenceLog:
		req := l.MultiInferenceLog.GetRequest()
		own := &pb.MultiInferenceRequest{Input: req.GetInput()}
		for _, t := range req.GetTasks() {
			own.Tasks = append(own.Tasks, &pb.InferenceTask{ModelSpec: spec(t.GetModelSpec()), MethodName: t.GetMethodName()})
		}
		_, err = multiInference(ctx, st, own)
	default:
		return errors.New("it is neither of predict, classify, regress nor multi-inference")
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readRecord reads one record of a TFRecord file (tensorflow/core/lib/io/record_writer.h): its length, the length's
// check sum, the data, the data's check sum. It returns io.EOF at the end.
func readRecord(r io.Reader) ([]byte, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(head[:8])
	if masked(head[:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, errors.New("it is no TFRecord: the check sum of a length is wrong")
	}
	if length > maxWarmupSize {
		return nil, fmt.Errorf("it has %d bytes, over the limit of %d", length, maxWarmupSize)
	}
	body := make([]byte, length+4)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, errors.New("it is cut short")
	}
	data := body[:length]
	if masked(data) != binary.LittleEndian.Uint32(body[length:]) {
		return nil, errors.New("its check sum is wrong")
	}
	return data, nil
}

// masked is TFRecord's check sum.
func masked(b []byte) uint32 {
	crc := crc32.Checksum(b, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}
