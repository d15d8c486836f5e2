package model

import "slices"

// TensorSpec describes one input or output of a Signature.
type TensorSpec struct {
	Name  string
	DType DType
	// Shape has -1 for a dimension that may vary. It is meaningless if AnyRank is set.
	Shape []int64
	// AnyRank says that the model does not fix the number of dimensions.
	AnyRank bool
}

// Batched reports whether the first dimension may vary, so that requests can be put together along it.
func (s TensorSpec) Batched() bool { return !s.AnyRank && len(s.Shape) > 0 && s.Shape[0] == -1 }

// Methods of a Signature, as a SavedModel names them.
const (
	MethodPredict  = "tensorflow/serving/predict"
	MethodClassify = "tensorflow/serving/classify"
	MethodRegress  = "tensorflow/serving/regress"
)

// DefaultSignature is the signature that a request means if it names none.
const DefaultSignature = "serving_default"

// Signature is one way to call a Model. Inputs and Outputs are sorted by name.
type Signature struct {
	Name    string
	Method  string
	Inputs  []TensorSpec
	Outputs []TensorSpec
}

// Input finds an input by name.
func (s Signature) Input(name string) (TensorSpec, bool) { return find(s.Inputs, name) }

// Output finds an output by name.
func (s Signature) Output(name string) (TensorSpec, bool) { return find(s.Outputs, name) }

// TakesImage reports whether the signature takes a batch of encoded images and nothing else: its only input is Bytes
// of shape [-1] and its method is predict.
func (s Signature) TakesImage() bool {
	return s.Method == MethodPredict && len(s.Inputs) == 1 && s.Inputs[0].DType == Bytes &&
		!s.Inputs[0].AnyRank && len(s.Inputs[0].Shape) == 1
}

func find(specs []TensorSpec, name string) (TensorSpec, bool) {
	i := slices.IndexFunc(specs, func(s TensorSpec) bool { return s.Name == name })
	if i < 0 {
		return TensorSpec{}, false
	}
	return specs[i], true
}
