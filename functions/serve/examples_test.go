package serve

import (
	"context"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/functions/model"
)

// Messages with one feature "a", as TensorFlow 2.21's tf.train.Example(…).SerializeToString() gives them, in hexadecimal.
const (
	exampleInt     = "0a0c0a0a0a016112051a030a0101"
	exampleInts    = "0a170a150a016112101a0e0a0c01feffffffffffffffff0101"
	exampleFloats  = "0a130a110a0161120c120a0a080000c03f000000c0"
	exampleStrings = "0a100a0e0a016112090a070a01780a0200ff"
	exampleEmpty   = "0a070a050a01611200"
)

// TestExamples compares messages with what TensorFlow's own tf.train.Example serialises.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, body, want string }{
		{"an integer", `"examples":[{"a":1}]`, exampleInt},
		{"integers", `"examples":[{"a":[1,-2,true]}]`, exampleInts},
		{"floats", `"examples":[{"a":[1.5,-2e0]}]`, exampleFloats},
		{"strings", `"examples":[{"a":["x",{"b64":"AP8="}]}]`, exampleStrings},
		{"no values", `"examples":[{"a":[]}]`, exampleEmpty},
		{"the context comes first", `"context":{"a":[1.5,-2e0]},"examples":[{"a":1}]`, exampleFloats + exampleInt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			m := toy()
			m.PredictFn = func(_ context.Context, req model.Request) (model.Response, error) {
				for _, e := range req.Inputs["inputs"].Strings {
					got = append(got, hex.EncodeToString(e))
				}
				return model.Response{Outputs: map[string]model.Tensor{"outputs": floats([]int64{1}, 1)}}, nil
			}
			s := newServer(t, Options{})
			s.SetModel(m)
			w := call{path: "/v1/models/toy:regress", body: `{"signature_name":"regress",` + tt.body + `}`}.do(t, s.Handler())
			if diff := cmp.Diff([]string{tt.want}, got); w.Code != 200 || diff != "" {
				t.Errorf("status %d: %s (-want +got):\n%s", w.Code, w.Body, diff)
			}
		})
	}
}
