package serve

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/functions/model"
	pb "weir.dev/weir/proto/serving"
)

// warmups are requests of every kind in their text form.
var warmups = []string{
	`predict_log {request {model_spec {name: "exported"} inputs {key: "x" value {dtype: DT_FLOAT tensor_shape {dim {size: 2} dim {size: 3}} float_val: 1}}}}`,
	`classify_log {request {model_spec {name: "exported" signature_name: "classify"} input {example_list {examples {}}}}}`,
	`regress_log {request {model_spec {signature_name: "regress"} input {example_list {examples {}}}}}`,
	`multi_inference_log {request {tasks {model_spec {signature_name: "regress"} method_name: "tensorflow/serving/regress"} input {example_list {examples {}}}}}`,
}

func tfRecord(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	return binary.LittleEndian.AppendUint32(append(out, data...), masked(data))
}

func warmupFolder(t *testing.T, content []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "assets.extra"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, warmupFile), content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func records(t *testing.T, logs ...string) []byte {
	t.Helper()
	var out []byte
	for _, l := range logs {
		b, err := proto.Marshal(text[pb.PredictionLog](t, l))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tfRecord(b)...)
	}
	return out
}

func TestWarmUp(t *testing.T) {
	t.Parallel()
	m := toy()
	var ran []string
	inner := toy()
	m.PredictFn = func(ctx context.Context, req model.Request) (model.Response, error) {
		ran = append(ran, req.Signature)
		return inner.Predict(ctx, req)
	}
	n, err := WarmUp(t.Context(), m, warmupFolder(t, records(t, warmups...)))
	if want := []string{"serving_default", "classify", "regress", "regress"}; err != nil || n != 4 || !slices.Equal(ran, want) {
		t.Errorf("%d, %v: %v, want %v", n, err, ran, want)
	}
	if n, err := WarmUp(t.Context(), m, t.TempDir()); n != 0 || err != nil {
		t.Errorf("without requests: %d, %v", n, err)
	}
}

func TestWarmUpRefuses(t *testing.T) {
	t.Parallel()
	good := records(t, warmups[0])
	flipped := slices.Clone(good)
	flipped[20] ^= 1
	header := slices.Clone(good)
	header[0] ^= 1
	huge := binary.LittleEndian.AppendUint64(nil, 1<<40)
	huge = binary.LittleEndian.AppendUint32(huge, masked(huge))
	for name, tt := range map[string]struct {
		content []byte
		want    string
	}{
		"no TFRecord":     {[]byte("hello, this is text"), "no TFRecord"},
		"a wrong length":  {header, "no TFRecord"},
		"wrong data":      {flipped, "check sum is wrong"},
		"cut short":       {append(slices.Clone(good), good[:20]...), "request 2 of assets.extra"},
		"a header cut":    {good[:5], "unexpected EOF"},
		"huge":            {huge, "over the limit"},
		"no message":      {tfRecord([]byte{0xff}), "request 1"},
		"nothing in it":   {tfRecord(nil), "neither of predict"},
		"a wrong request": {records(t, `predict_log {request {}}`), `missing input "x"`},
		"a wrong method":  {records(t, `regress_log {request {input {example_list {examples {}}}}}`), "expected \"tensorflow/serving/regress\""},
		"one too many":    {slices.Repeat(good, maxWarmups+1), "more than 1000"},
	} {
		if _, err := WarmUp(t.Context(), toy(), warmupFolder(t, tt.content)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
