package serve

import (
	"context"
	"encoding/binary"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir.dev/weir/functions/model"
)

// fakeModel answers by PredictFn. If that is nil it checks the request as every Model must and gives echo's answer.
type fakeModel struct {
	meta      model.Metadata
	PredictFn func(ctx context.Context, req model.Request) (model.Response, error)
}

func (f *fakeModel) Metadata() model.Metadata { return f.meta }
func (f *fakeModel) Close() error             { return nil }

func (f *fakeModel) Predict(ctx context.Context, req model.Request) (model.Response, error) {
	if f.PredictFn != nil {
		return f.PredictFn(ctx, req)
	}
	sig, err := f.meta.Resolve(req)
	if err != nil {
		return model.Response{}, err
	}
	out, err := echo(sig, req)
	if err != nil || len(req.Outputs) == 0 {
		return model.Response{Outputs: out}, err
	}
	some := make(map[string]model.Tensor)
	for _, name := range req.Outputs {
		some[name] = out[name]
	}
	return model.Response{Outputs: some}, nil
}

// echo gives each input back under its name with "_out", and labels, classes and scores where the signature wants them.
func echo(sig model.Signature, req model.Request) (map[string]model.Tensor, error) {
	out := make(map[string]model.Tensor)
	var n int64
	for name, t := range req.Inputs {
		if len(t.Shape) > 0 {
			n = t.Shape[0]
		}
		for _, o := range sig.Outputs {
			if strings.TrimSuffix(o.Name, "_bytes") == name+"_out" {
				out[o.Name] = t
			}
		}
		if t.DType == model.Bytes && len(t.Strings) == 1 && string(t.Strings[0]) == "broken" {
			return nil, model.Errorf(model.InvalidArgument, "input %q is no image: expected JPEG, PNG, GIF or BMP", name)
		}
	}
	for _, o := range sig.Outputs {
		switch o.Name {
		case "labels":
			out[o.Name] = texts([]int64{n, 2}, repeat(n, "cat", "dog")...)
		case "classes":
			if o.DType == model.Bytes {
				out[o.Name] = texts([]int64{n, 2}, repeat(n, "cat", "dog")...)
			} else {
				out[o.Name] = int64s([]int64{n, 2}, repeat[int64](n, 281, 207)...)
			}
		case "scores":
			out[o.Name] = floats([]int64{n, 2}, repeat[float32](n, 0.75, 0.25)...)
		case "outputs":
			out[o.Name] = floats([]int64{n, 1}, repeat[float32](n, 1.5)...)
		}
	}
	return out, nil
}

func repeat[T any](n int64, v ...T) []T {
	var out []T
	for range n {
		out = append(out, v...)
	}
	return out
}

func floats(shape []int64, v ...float32) model.Tensor {
	t := model.Tensor{DType: model.Float32, Shape: shape, Data: []byte{}}
	for _, f := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(f))
	}
	return t
}

func int64s(shape []int64, v ...int64) model.Tensor {
	t := model.Tensor{DType: model.Int64, Shape: shape, Data: []byte{}}
	for _, i := range v {
		t.Data = binary.LittleEndian.AppendUint64(t.Data, uint64(i))
	}
	return t
}

func texts(shape []int64, v ...string) model.Tensor {
	t := model.Tensor{DType: model.Bytes, Shape: shape}
	for _, s := range v {
		t.Strings = append(t.Strings, []byte(s))
	}
	return t
}

func spec(name string, d model.DType, shape ...int64) model.TensorSpec {
	return model.TensorSpec{Name: name, DType: d, Shape: shape}
}

type specs = []model.TensorSpec

// toy has a signature for each case that the APIs tell apart.
func toy() *fakeModel {
	sig := func(method string, in, out specs) model.Signature {
		return model.Signature{Method: method, Inputs: in, Outputs: out}
	}
	p := model.MethodPredict
	examples := specs{spec("inputs", model.Bytes, -1)}
	m := model.Metadata{
		Name: "toy", Version: 3, Labels: []string{"stable"}, Platform: "tensorflow_savedmodel", ImageSignature: "image_bytes",
		Signatures: map[string]model.Signature{
			"serving_default": sig(p, specs{spec("x", model.Float32, -1, 3)}, specs{spec("x_out", model.Float32, -1, 3)}),
			"image_bytes": sig(p, specs{spec("image", model.Bytes, -1)},
				specs{spec("classes", model.Int64, -1, 2), spec("labels", model.Bytes, -1, 2), spec("scores", model.Float32, -1, 2)}),
			"two": sig(p, specs{spec("a", model.Int32, -1), spec("b", model.Bytes, -1)},
				specs{spec("a_out", model.Int32, -1), spec("b_out", model.Bytes, -1), spec("b_out_bytes", model.Bytes, -1)}),
			"integers": sig(p, specs{spec("x", model.Int64, -1, 3)}, specs{spec("x_out", model.Int64, -1, 3)}),
			"any":      sig(p, specs{{Name: "v", DType: model.Float64, AnyRank: true}}, specs{{Name: "v_out", DType: model.Float64, AnyRank: true}}),
			"classify": sig(model.MethodClassify, examples, specs{spec("classes", model.Bytes, -1, -1), spec("scores", model.Float32, -1, -1)}),
			"regress":  sig(model.MethodRegress, examples, specs{spec("outputs", model.Float32, -1, 1)}),
		},
	}
	for _, d := range []model.DType{model.Bool, model.Uint8, model.Uint16, model.Uint32, model.Uint64, model.Int8, model.Int16,
		model.Int64, model.Float16, model.BFloat16, model.Bytes} {
		name := strings.ToLower(d.String())
		m.Signatures[name] = sig(p, specs{spec(name, d, -1)}, specs{spec(name+"_out", d, -1)})
	}
	for name, s := range m.Signatures {
		s.Name = name
		m.Signatures[name] = s
	}
	return &fakeModel{meta: m}
}

func toyServer(t testing.TB) *Server {
	t.Helper()
	s := newServer(t, Options{Revision: "toy-00001", Limits: Limits{Body: 1 << 16, Instances: 10, Depth: 16}})
	s.SetModel(toy())
	return s
}

// call is a request as a test's table says it.
type call struct {
	method, path string
	header       map[string]string
	body         string
}

func (c call) do(t testing.TB, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	method := c.method
	if method == "" {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, c.path, strings.NewReader(c.body))
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
