package tensorflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"slices"

	"weir.dev/weir/functions/model"
)

// warmSide is the side of the picture that a warm-up decodes.
const warmSide = 64

// warm calls every signature once, so that the first caller does not wait for TensorFlow to set up its operations.
// What the model refuses is its right: nobody knows which strings it likes. An internal error is a broken model.
func (m *savedModel) warm(ctx context.Context) error {
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, image.NewRGBA(image.Rect(0, 0, warmSide, warmSide)), nil); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m.meta.Signatures)) {
		sig := m.meta.Signatures[name]
		inputs := make(map[string]model.Tensor, len(sig.Inputs))
		for _, in := range sig.Inputs {
			inputs[in.Name] = zeros(in)
		}
		if sig.TakesImage() {
			inputs[sig.Inputs[0].Name] = model.Tensor{DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{photo.Bytes()}}
		}
		if _, err := m.Predict(ctx, model.Request{Signature: name, Inputs: inputs}); err != nil && model.CodeOf(err) == model.Internal {
			return fmt.Errorf("signature %s: %w", name, cause(err))
		}
	}
	return nil
}

// cause is what a caller of the model is not told, but whoever deploys it is.
func cause(err error) error {
	if e, ok := errors.AsType[*model.Error](err); ok && e.Err != nil {
		return e.Err
	}
	return err
}

// zeros is a tensor that a spec accepts: dimensions that may vary are 1.
func zeros(s model.TensorSpec) model.Tensor {
	t := model.Tensor{DType: s.DType}
	if !s.AnyRank {
		t.Shape = make([]int64, len(s.Shape))
		for i, d := range s.Shape {
			t.Shape[i] = max(d, 1)
		}
	}
	if s.DType == model.Bytes {
		t.Strings = make([][]byte, t.Len())
		return t
	}
	t.Data = make([]byte, t.Len()*int64(s.DType.Size()))
	return t
}
