package serve

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"weir.dev/weir/functions/model"
)

// TestALeftPredictionKeepsItsInputs has requests with a timeout whose prediction goes on, as TensorFlow's does, and others
// after each that could get their memory.
func TestALeftPredictionKeepsItsInputs(t *testing.T) {
	t.Parallel()
	const n = kept // floats
	m := &fakeModel{meta: model.Metadata{Name: "toy", Version: 1, Signatures: map[string]model.Signature{
		"serving_default": {
			Name: "serving_default", Method: model.MethodPredict,
			Inputs: specs{spec("x", model.Float32, -1, n)}, Outputs: specs{spec("y", model.Float32, -1, 1)},
		},
	}}}
	var left []model.Tensor
	m.PredictFn = func(ctx context.Context, req model.Request) (model.Response, error) {
		if _, ok := ctx.Deadline(); ok {
			left = append(left, req.Inputs["x"])
			<-ctx.Done()
			return model.Response{}, ctx.Err()
		}
		return model.Response{Outputs: map[string]model.Tensor{"y": floats([]int64{1, 1}, 1)}}, nil
	}
	s := newServer(t, Options{})
	s.SetModel(m)
	data := func(fill byte) []byte { return bytes.Repeat([]byte{0, 0, fill, 0x3f}, n) }
	binary := func(fill byte, timeout string) int {
		head := fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,%d],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}`, n, 4*n)
		r := httptest.NewRequest(http.MethodPost, "/v2/models/toy/infer", strings.NewReader(head+string(data(fill))))
		r.Header.Set(headerJSONLength, fmt.Sprint(len(head)))
		r.Header.Set("Content-Type", "application/octet-stream")
		return answered(s, r, timeout)
	}
	text := func(number, timeout string) int {
		list := strings.TrimSuffix(strings.Repeat(number+",", n), ",")
		return answered(s, httptest.NewRequest(http.MethodPost, "/v1/models/toy:predict", strings.NewReader(`{"instances":[[`+list+`]]}`)), timeout)
	}
	for range 5 {
		if got := []int{binary(1, "50ms"), binary(2, ""), text("0.5", "50ms"), text("0.75", "")}; !slices.Equal(got, []int{504, 200, 504, 200}) {
			t.Fatalf("answers: %v", got)
		}
	}
	for i, got := range left {
		if !bytes.Equal(got.Data, data(1)) && !bytes.Equal(got.Data, data(0)) { // 0.5 is 0x3f000000
			t.Errorf("the inputs of prediction %d, which goes on, were written over: % x…", i, got.Data[:8])
		}
	}
}

func answered(s *Server, r *http.Request, timeout string) int {
	if timeout != "" {
		r.Header.Set(HeaderTimeout, timeout)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code
}

func TestClassesOfBlocks(t *testing.T) {
	t.Parallel()
	last, largest := -1, 0
	for n := kept; n <= most; n += 4093 {
		i, size := class(n)
		if again, same := class(size); size < n || 5*(size-n) > size || again != i || same != size {
			t.Fatalf("%d bytes: class %d of %d bytes, which is of class %d of %d", n, i, size, again, same)
		}
		if (i != last) != (size != largest) || i < last {
			t.Fatalf("%d bytes: class %d of %d bytes after class %d of %d", n, i, size, last, largest)
		}
		last, largest = i, size
	}
}

// TestABodyIsGivenBackBeforeThePrediction has a request that waits for the model while others are read: its tensors stay, of its
// body nothing is held but for strings.
func TestABodyIsGivenBackBeforeThePrediction(t *testing.T) {
	t.Parallel()
	const n = 1 << 20
	for _, c := range []struct {
		name, path, input, body string
		back                    bool
	}{
		{"v1", "/v1/models/toy:predict", "x", `{"instances":[1.5]`, true},
		{"v1 strings", "/v1/models/toy:predict", "s", `{"instances":["text"]`, false},
		{"v2", "/v2/models/toy/infer", "x", `{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]`, true},
		{"v2 strings", "/v2/models/toy/infer", "s", `{"inputs":[{"name":"s","shape":[1],"datatype":"BYTES","data":["text"]}]`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := spec("x", model.Float32, -1)
			if c.input == "s" {
				in = spec("s", model.Bytes, -1)
			}
			m := &fakeModel{meta: model.Metadata{Name: "toy", Version: 1, Signatures: map[string]model.Signature{
				"serving_default": {Name: "serving_default", Method: model.MethodPredict, Inputs: specs{in}, Outputs: specs{spec("y", model.Float32, -1)}},
			}}}
			var s *Server
			class, _ := class(n + 1<<16)
			back := false
			m.PredictFn = func(_ context.Context, req model.Request) (model.Response, error) {
				if got := req.Inputs["s"]; c.input == "s" && string(got.Strings[0]) != "text" {
					t.Errorf("the model got %q", got.Strings)
				}
				back = back || s.blocks[class].Get() != nil
				return model.Response{Outputs: map[string]model.Tensor{"y": floats([]int64{1}, 1)}}, nil
			}
			body := c.body + strings.Repeat(" ", n) + "}"
			for range 20 { // under the race detector a sync.Pool drops one of four
				s = newServer(t, Options{})
				s.SetModel(m)
				if got := answered(s, httptest.NewRequest(http.MethodPost, c.path, strings.NewReader(body)), ""); got != http.StatusOK {
					t.Fatalf("the answer is %d", got)
				}
			}
			if back != c.back {
				t.Errorf("the body was given back: %v, expected %v", back, c.back)
			}
		})
	}
}
