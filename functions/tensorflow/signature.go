package tensorflow

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	tf "github.com/galeone/tensorflow/tensorflow/go"
	pb "github.com/galeone/tensorflow/tensorflow/go/core/protobuf/for_core_protos_go_proto"

	"weir.dev/weir/functions/model"
)

// initSignature is how TensorFlow 2 names the signature that initialises a SavedModel. It is none to call.
const initSignature = "__saved_model_init_op"

// dtypes are the element types that both sides have.
var dtypes = map[tf.DataType]model.DType{
	tf.Bool: model.Bool, tf.Uint8: model.Uint8, tf.Uint16: model.Uint16, tf.Uint32: model.Uint32, tf.Uint64: model.Uint64,
	tf.Int8: model.Int8, tf.Int16: model.Int16, tf.Int32: model.Int32, tf.Int64: model.Int64, tf.Half: model.Float16,
	tf.Bfloat16: model.BFloat16, tf.Float: model.Float32, tf.Double: model.Float64, tf.String: model.Bytes,
}

var tfTypes = func() map[model.DType]tf.DataType {
	m := make(map[model.DType]tf.DataType, len(dtypes))
	for t, d := range dtypes {
		m[d] = t
	}
	return m
}()

// addSignatures takes the signatures that can be served; one with a type that cannot be is left out.
func (m *savedModel) addSignatures(graph *pb.MetaGraphDef) error {
	for name, def := range graph.GetSignatureDef() {
		if name == initSignature || len(def.GetOutputs()) == 0 {
			continue
		}
		sig := model.Signature{Name: name, Method: def.GetMethodName()}
		var e endpoint
		var err error
		if sig.Inputs, e.inputs, err = m.specs(def.GetInputs()); err != nil {
			return fmt.Errorf("signature %s: %w", name, err)
		}
		if sig.Outputs, e.outputs, err = m.specs(def.GetOutputs()); err != nil {
			return fmt.Errorf("signature %s: %w", name, err)
		}
		m.meta.Signatures[name], m.endpoints[name] = sig, e
	}
	if len(m.endpoints) == 0 {
		return fmt.Errorf("it has no signature: export one named %s", model.DefaultSignature)
	}
	return nil
}

// specs describes a signature's inputs or outputs and finds them in the graph.
func (m *savedModel) specs(infos map[string]*pb.TensorInfo) ([]model.TensorSpec, map[string]tf.Output, error) {
	specs := make([]model.TensorSpec, 0, len(infos))
	outputs := make(map[string]tf.Output, len(infos))
	for _, name := range slices.Sorted(maps.Keys(infos)) {
		info := infos[name]
		dtype, ok := dtypes[tf.DataType(info.GetDtype())]
		if !ok {
			return nil, nil, fmt.Errorf("tensor %s has the type %v, which cannot be served", name, info.GetDtype())
		}
		node, index, _ := strings.Cut(info.GetName(), ":")
		i, err := strconv.Atoi(index)
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s is named %q in the graph, expected NODE:INDEX", name, info.GetName())
		}
		if err := guard(func() { outputs[name] = m.session.Op(node, i) }); err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		spec := model.TensorSpec{Name: name, DType: dtype, AnyRank: info.GetTensorShape() == nil || info.GetTensorShape().GetUnknownRank()}
		if !spec.AnyRank {
			spec.Shape = make([]int64, 0, len(info.GetTensorShape().GetDim()))
			for _, d := range info.GetTensorShape().GetDim() {
				spec.Shape = append(spec.Shape, d.GetSize())
			}
		}
		specs = append(specs, spec)
	}
	return specs, outputs, nil
}
