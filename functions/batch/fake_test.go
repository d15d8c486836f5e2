package batch

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/functions/model"
)

// fake is a model of one float and one string input a row. It answers twice the float and the string as it is, which
// takes 1 ms of the test's clock and a tenth for each row.
type fake struct {
	mu   sync.Mutex
	runs []model.Request
	// refuse is the float of a row that fails its run.
	refuse float32
	// sum makes a row's answer depend on its mates; short answers one row only.
	sum, short bool
	took       func(rows int) time.Duration
	active     atomic.Int32
	most       atomic.Int32
}

var errRow = errors.New("bad row")

func (f *fake) Close() error { return nil }

func (f *fake) Metadata() model.Metadata {
	spec := func(name string, d model.DType) model.TensorSpec {
		return model.TensorSpec{Name: name, DType: d, Shape: []int64{-1, -1}}
	}
	one := func(name string, in ...model.TensorSpec) model.Signature {
		var out []model.TensorSpec
		for _, s := range in {
			s.Name += "_out"
			out = append(out, s)
		}
		return model.Signature{Name: name, Method: model.MethodPredict, Inputs: in, Outputs: out}
	}
	fixed := one("fixed", spec("x", model.Float32))
	fixed.Outputs[0].Shape = []int64{1}
	return model.Metadata{Name: "fake", Signatures: map[string]model.Signature{
		model.DefaultSignature: one(model.DefaultSignature, spec("x", model.Float32)),
		"both":                 one("both", spec("x", model.Float32), spec("s", model.Bytes)),
		"fixed":                fixed,
	}}
}

func (f *fake) Predict(ctx context.Context, req model.Request) (model.Response, error) {
	f.mu.Lock()
	f.runs = append(f.runs, req)
	f.mu.Unlock()
	f.most.Store(max(f.most.Load(), f.active.Add(1)))
	defer f.active.Add(-1)
	took := func(rows int) time.Duration { return time.Millisecond + time.Duration(rows)*time.Millisecond/10 }
	if f.took != nil {
		took = f.took
	}
	select {
	case <-time.After(took(countRows(req))):
	case <-ctx.Done():
		return model.Response{}, ctx.Err()
	}
	out := map[string]model.Tensor{}
	for name, t := range req.Inputs {
		o := model.Tensor{DType: t.DType, Shape: t.Shape, Strings: t.Strings}
		sum := float32(0)
		for i := 0; i < len(t.Data); i += 4 {
			v := at(t, i/4)
			if f.refuse != 0 && v == f.refuse {
				return model.Response{}, errRow
			}
			sum += v
			if f.sum {
				v = sum
			}
			o.Data = binary.LittleEndian.AppendUint32(o.Data, math.Float32bits(2*v))
		}
		if f.short {
			o = slice(o, 0, 1)
		}
		if len(req.Outputs) == 0 || slices.Contains(req.Outputs, name+"_out") {
			out[name+"_out"] = o
		}
	}
	return model.Response{Outputs: out}, nil
}

// rows returns the rows of the runs so far.
func (f *fake) rows() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n []int
	for _, r := range f.runs {
		n = append(n, countRows(r))
	}
	return n
}

func at(t model.Tensor, i int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
}

func floats(width int, v ...float32) model.Tensor {
	t := model.Tensor{DType: model.Float32, Shape: []int64{int64(len(v) / width), int64(width)}}
	for _, f := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(f))
	}
	return t
}

func request(v ...float32) model.Request {
	return model.Request{Inputs: map[string]model.Tensor{"x": floats(1, v...)}}
}

// ask predicts v in a goroutine and checks the answer.
func ask(t *testing.T, wg *sync.WaitGroup, b *Batcher, v ...float32) {
	wg.Go(func() {
		resp, err := b.Predict(t.Context(), request(v...))
		if err != nil {
			t.Errorf("%v: %v", v, err)
			return
		}
		out := resp.Outputs["x_out"]
		if out.Shape[0] != int64(len(v)) || out.Check() != nil {
			t.Errorf("%v: answered %v %v", v, out.Shape, out.Check())
			return
		}
		for i := range v {
			if got := at(out, i); got != 2*v[i] {
				t.Errorf("%v: row %d is %v, want %v", v, i, got, 2*v[i])
			}
		}
	})
}

// instant answers at once.
type instant struct{ fake }

func (*instant) Predict(_ context.Context, req model.Request) (model.Response, error) {
	return model.Response{Outputs: map[string]model.Tensor{"x_out": req.Inputs["x"]}}, nil
}
