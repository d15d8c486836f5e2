package functions

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/internal/report"
)

// loaded loads one of the project's models with a setting of --batch.
func loaded(t *testing.T, name, batch string) *function {
	t.Helper()
	s := fromEnvironment(Options{Name: name})
	s.name, s.model, s.batch = name, filepath.Join("../build/models", name, "1"), batch
	f, err := s.newFunction(Options{Name: name}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestBatchedIsUnbatched holds TensorFlow's answers in batches against those to each request alone.
func TestBatchedIsUnbatched(t *testing.T) {
	t.Parallel()
	together, alone := loaded(t, "digits", "16"), loaded(t, "digits", "off")
	var wg sync.WaitGroup
	for caller := range uint64(24) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(caller, 0))
			for range 20 {
				compare(t, together.model, alone.model, digits(r, 1+r.IntN(3)))
			}
		})
	}
	wg.Wait()
	w := httptest.NewRecorder()
	together.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	const rows = `weir_function_batch_rows_count{model="digits",signature="serving_default"} `
	_, count, _ := strings.Cut(w.Body.String(), rows)
	count, _, _ = strings.Cut(count, "\n")
	if runs, err := strconv.Atoi(count); err != nil || runs >= 480 {
		t.Errorf("480 requests took %q runs: nothing was put together", count)
	}
}

func digits(r *rand.Rand, n int) model.Request {
	t := model.Tensor{DType: model.Float32, Shape: []int64{int64(n), 8, 8, 1}}
	for range n * 64 {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(r.Float32()))
	}
	return model.Request{Inputs: map[string]model.Tensor{"images": t}}
}

func compare(t *testing.T, together, alone model.Model, req model.Request) {
	got, err := together.Predict(context.Background(), req)
	if err != nil {
		t.Error(err)
		return
	}
	want, err := alone.Predict(context.Background(), req)
	if err != nil {
		t.Error(err)
		return
	}
	for name, w := range want.Outputs {
		g := got.Outputs[name]
		if len(g.Data) != len(w.Data) || g.DType != model.Float32 && !g.Equal(w) {
			t.Errorf("output %s: %v, want %v", name, g, w)
			continue
		}
		for i := 0; g.DType == model.Float32 && i < len(w.Data); i += 4 {
			x, y := math.Float32frombits(binary.LittleEndian.Uint32(g.Data[i:])), math.Float32frombits(binary.LittleEndian.Uint32(w.Data[i:]))
			if math.Abs(float64(x-y)) > 1e-5 {
				t.Errorf("output %s[%d]: %v in a batch, %v alone", name, i/4, x, y)
			}
		}
	}
}

// TestReport holds what a replica says of itself: that it is ready, what that took, and what was decided about batches.
func TestReport(t *testing.T) {
	t.Parallel()
	f := loaded(t, "digits", "auto")
	f.measure(t.Context())
	r := httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody)
	r.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	f.server.Handler().ServeHTTP(w, r)
	var said report.Replica
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if !said.Ready || said.Load <= 0 || said.Warm <= 0 {
		t.Errorf("report %s", w.Body)
	}
	for _, d := range said.Batching {
		if d.Signature == model.DefaultSignature && (d.Alone <= 0 || d.Together <= 0 || d.Reason == "") {
			t.Errorf("report %s", w.Body)
		}
	}
	if len(said.Batching) == 0 {
		t.Errorf("report %s", w.Body)
	}
}

func TestBatchSetting(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": true, "auto": true, "off": true, "1": true, "64": true, "0": false, "-1": false, "many": false} {
		if _, _, err := (settings{batch: text}).batchSize(); (err == nil) != want {
			t.Errorf("--batch %q: %v", text, err)
		}
	}
}
