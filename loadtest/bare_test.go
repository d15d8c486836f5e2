package loadtest

import (
	"bytes"
	"strings"
	"testing"

	tf "github.com/galeone/tensorflow/tensorflow/go"
	"github.com/galeone/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/internal/harness"
)

// bare is a SavedModel in a TensorFlow session with nothing around it: what every server is measured against.
type bare struct {
	model   *tf.SavedModel
	in, out tf.Output
}

// openBare loads a signature with the threads that a function uses by default: one a run, runs side by side.
func openBare(b *testing.B, model, signature, input, output string) *bare {
	b.Helper()
	config, err := proto.Marshal(&for_core_protos_go_proto.ConfigProto{
		IntraOpParallelismThreads: 1, InterOpParallelismThreads: 2,
		// Image models were optimised when they were exported: a session that does it again is slower.
		GraphOptions: &for_core_protos_go_proto.GraphOptions{RewriteOptions: &for_core_protos_go_proto.RewriterConfig{
			DisableMetaOptimizer: strings.HasPrefix(model, "imagenet/"),
		}},
	})
	if err != nil {
		b.Fatal(err)
	}
	m, err := tf.LoadSavedModel(harness.Path("build/models", model), []string{"serve"}, &tf.SessionOptions{Config: config})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Session.Close() })
	sig := m.Signatures[signature]
	return &bare{model: m, in: graphOutput(b, m, sig.Inputs[input].Name), out: graphOutput(b, m, sig.Outputs[output].Name)}
}

// graphOutput finds NODE:INDEX.
func graphOutput(b *testing.B, m *tf.SavedModel, name string) tf.Output {
	b.Helper()
	node, index, ok := bytes.Cut([]byte(name), []byte(":"))
	if !ok {
		b.Fatalf("%q is no tensor name", name)
	}
	op := m.Graph.Operation(string(node))
	if op == nil {
		b.Fatalf("the graph has no %q", node)
	}
	return op.Output(int(index[0] - '0'))
}

// run makes the tensor and runs the session, as a server has to for each request.
func (r *bare) run(input any) error {
	in, err := tf.NewTensor(input)
	if err != nil {
		return err
	}
	_, err = r.model.Session.Run(map[tf.Output]*tf.Tensor{r.in: in}, []tf.Output{r.out}, nil)
	return err
}
