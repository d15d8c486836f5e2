package tensorflow

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"weir.dev/weir/functions/model"
)

// warmSide is the side of the picture that a warm-up decodes.
const warmSide = 64

// warm calls every signature once, so that the first caller does not wait for TensorFlow to set up its operations.
// What the model refuses is its right: nobody knows which strings it likes. An internal error is a broken model.
func (m *savedModel) warm(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(m.meta.Signatures)) {
		inputs, _ := SampleRow(m.meta.Signatures[name], 0)
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

// SampleRow makes up one row of a signature's inputs: noise that differs by n for floats, a photo for an encoded image,
// else zeros. Dimensions that may vary are 1. It is false if the model may refuse it: nobody knows which strings it
// likes.
func SampleRow(sig model.Signature, n int) (map[string]model.Tensor, bool) {
	inputs := make(map[string]model.Tensor, len(sig.Inputs))
	if sig.TakesImage() {
		encoded, err := photo(n)
		inputs[sig.Inputs[0].Name] = model.Tensor{DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{encoded}}
		return inputs, err == nil
	}
	sure := true
	for _, in := range sig.Inputs {
		t := zeros(in)
		sure = sure && t.DType != model.Bytes
		if t.DType == model.Float32 {
			r := rand.New(rand.NewPCG(uint64(n), 0))
			for i := 0; i < len(t.Data); i += 4 {
				binary.LittleEndian.PutUint32(t.Data[i:], math.Float32bits(r.Float32()))
			}
		}
		inputs[in.Name] = t
	}
	return inputs, sure
}

// photo is a small JPEG of one colour.
func photo(n int) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, warmSide, warmSide))
	for i := range img.Pix {
		img.Pix[i] = uint8(n * (i%4 + 1) * 5)
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, nil)
	return b.Bytes(), err
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
