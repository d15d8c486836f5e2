package tensorflow

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // the formats that TensorFlow decodes
	_ "image/jpeg"
	"image/png"
	"math"
	"slices"
	"unsafe"

	tf "github.com/galeone/tensorflow/tensorflow/go"
	"github.com/galeone/tensorflow/tensorflow/go/op"
	tg "github.com/galeone/tfgo"
	"golang.org/x/image/bmp"

	"weir.dev/weir/functions/model"
)

// ImageSignature is the name of the signature that takes encoded images, and imageInput of its input.
const (
	ImageSignature = "image_bytes"
	imageInput     = "image_bytes"
)

// Image says how an encoded image becomes a float tensor: its centre is cropped to a square, resized bicubically to the
// size that the model takes, and (pixel - Mean) / Scale of 0..255.
type Image struct {
	// Off serves no images for a model that takes only float images.
	Off bool
	// Crop is the share of the shorter side that is kept, up to 1. If zero, size / (size + 32), as EfficientNet crops.
	Crop float64
	// Mean and Scale normalise a pixel. If Scale is zero, 127 and 128.
	Mean, Scale float64
}

// addImages finds the signature that raw images mean. A model that takes only float images gets one with a
// preprocessing graph in front of it.
func (m *savedModel) addImages(config []byte) error {
	var found []string
	for name, sig := range m.meta.Signatures {
		if sig.TakesImage() {
			found = append(found, name)
		}
	}
	if sig, ok := m.meta.Signatures[ImageSignature]; ok && sig.TakesImage() {
		m.meta.ImageSignature = ImageSignature
		return nil
	}
	if len(found) == 1 {
		m.meta.ImageSignature = found[0]
		return nil
	}
	base, input, ok := m.floatImages()
	if !ok || m.o.Image.Off || len(found) > 0 {
		return nil
	}
	p, err := newPreprocessor(m.o.Image, input, config)
	if err != nil {
		return err
	}
	sig := base
	sig.Name = ImageSignature
	sig.Inputs = []model.TensorSpec{{Name: imageInput, DType: model.Bytes, Shape: []int64{-1}}}
	m.meta.Signatures[ImageSignature], m.endpoints[ImageSignature] = sig, m.endpoints[base.Name]
	m.meta.ImageSignature, m.images = ImageSignature, p
	return nil
}

// floatImages finds the default signature if it takes a batch of square RGB images as floats and nothing else.
func (m *savedModel) floatImages() (model.Signature, model.TensorSpec, bool) {
	sig, ok := m.meta.Signatures[model.DefaultSignature]
	if !ok || len(sig.Inputs) != 1 {
		return sig, model.TensorSpec{}, false
	}
	in := sig.Inputs[0]
	ok = in.DType == model.Float32 && in.Batched() && len(in.Shape) == 4 && in.Shape[1] == in.Shape[2] && in.Shape[1] > 0 && in.Shape[3] == 3
	return sig, in, ok
}

// preprocessor turns encoded images into the input of a model, one image a run so that an error is one image's.
type preprocessor struct {
	input   string // the model's input
	size    int64
	session *tf.Session
	// in takes an encoded image; jpeg is what becomes of a JPEG, other of the other formats.
	in, jpeg, other tf.Output
}

func newPreprocessor(o Image, input model.TensorSpec, config []byte) (*preprocessor, error) {
	size := input.Shape[1]
	if o.Crop == 0 {
		o.Crop = float64(size) / float64(size+32)
	}
	if o.Scale == 0 {
		o.Mean, o.Scale = 127, 128
	}
	if o.Crop < 0 || o.Crop > 1 {
		return nil, fmt.Errorf("the share to crop is %v, expected more than 0 and at most 1", o.Crop)
	}
	p := &preprocessor{input: input.Name, size: size}
	var graph *tf.Graph
	var err error
	if e := guard(func() { graph, err = p.build(o) }); e != nil || err != nil {
		return nil, errors.Join(e, err)
	}
	p.session, err = tf.NewSession(graph, &tf.SessionOptions{Config: config})
	return p, err
}

// build makes the graph: string -> [size, size, 3] float32.
func (p *preprocessor) build(o Image) (*tf.Graph, error) {
	root := tg.NewRoot()
	p.in = op.Placeholder(root.SubScope("image"), tf.String, op.PlaceholderShape(tf.ScalarShape()))
	jpeg, other := root.SubScope("jpeg"), root.SubScope("other")
	// The exact transform: the default, fast one is off by up to 18 of 255.
	p.jpeg = p.normalise(jpeg, op.DecodeJpeg(jpeg, p.in, op.DecodeJpegChannels(3), op.DecodeJpegDctMethod("INTEGER_ACCURATE")), o)
	p.other = p.normalise(other, op.DecodeImage(other, p.in, op.DecodeImageChannels(3), op.DecodeImageExpandAnimations(false)), o)
	return root.Finalize()
}

// normalise crops, resizes and scales decoded pixels [height, width, 3].
func (p *preprocessor) normalise(root *op.Scope, decoded tf.Output, o Image) tf.Output {
	s := root.SubScope("crop")
	shape := op.Shape(s, decoded)
	sides := op.Slice(s.SubScope("sides"), shape, ints(s, "begin", 0), ints(s, "two", 2)) // height, width
	shorter := op.Min(s, sides, ints(s, "axis", 0))
	kept := op.Round(s, op.Mul(s, tg.Cast(s.SubScope("float"), shorter, tf.Float), op.Const(s.SubScope("share"), float32(o.Crop))))
	side := tg.Cast(s.SubScope("int"), kept, tf.Int32)
	offset := op.FloorDiv(s, op.Sub(s, sides, side), op.Const(s.SubScope("half"), int32(2)))
	square := op.Pack(s.SubScope("square"), []tf.Output{side, side})
	begin := op.ConcatV2(s.SubScope("begin3"), []tf.Output{offset, ints(s, "channel0", 0)}, op.Const(s.SubScope("a0"), int32(0)))
	extent := op.ConcatV2(s.SubScope("extent3"), []tf.Output{square, ints(s, "channels", 3)}, op.Const(s.SubScope("a1"), int32(0)))
	cropped := op.ExpandDims(s, tg.Cast(s.SubScope("pixels"), op.Slice(s.SubScope("centre"), decoded, begin, extent), tf.Float), op.Const(s.SubScope("batch"), int32(0)))

	resized := resize(root.SubScope("resize"), cropped, square, int32(p.size))
	n := root.SubScope("normalise")
	centred := op.Sub(n, resized, op.Const(n.SubScope("mean"), float32(o.Mean)))
	return op.Div(n, centred, op.Const(n.SubScope("scale"), float32(o.Scale)))
}

func ints(s *op.Scope, name string, v ...int32) tf.Output { return op.Const(s.SubScope(name), v) }

// resize is tf.image.resize(…, "bicubic", antialias=True): a ScaleAndTranslate with Keys' cubic kernel, which the Go ops
// do not wrap.
func resize(s *op.Scope, images, from tf.Output, size int32) tf.Output {
	to := []int32{size, size}
	target := op.Const(s.SubScope("size"), to)
	scale := op.Div(s, op.Const(s.SubScope("to"), []float32{float32(size), float32(size)}), tg.Cast(s.SubScope("from"), from, tf.Float))
	return s.AddOperation(tf.OpSpec{
		Type:  "ScaleAndTranslate",
		Input: []tf.Input{images, target, scale, op.Const(s.SubScope("shift"), []float32{0, 0})},
		Attrs: map[string]any{"kernel_type": "keyscubic", "antialias": true},
	}).Output(0)
}

// pixels decodes a batch into one tensor [n, size, size, 3].
func (p *preprocessor) pixels(t model.Tensor) (model.Tensor, error) {
	one := int(p.size * p.size * 3 * 4)
	batch := model.Tensor{DType: model.Float32, Shape: []int64{t.Len(), p.size, p.size, 3}, Data: make([]byte, 0, one*len(t.Strings))}
	for i, encoded := range t.Strings {
		one, err := p.decode(encoded)
		if err != nil {
			return model.Tensor{}, brokenImage(i, len(t.Strings), err)
		}
		batch.Data = append(batch.Data, one.TensorData()...)
		free(one)
	}
	return batch, nil
}

// decode makes one encoded image a tensor [size, size, 3].
func (p *preprocessor) decode(encoded []byte) (*tf.Tensor, error) {
	in, err := tf.NewTensor(unsafe.String(unsafe.SliceData(encoded), len(encoded)))
	if err != nil {
		return nil, fmt.Errorf("tensor: %w", err)
	}
	defer free(in)
	out := p.other
	if bytes.HasPrefix(encoded, []byte("\xff\xd8\xff")) {
		out = p.jpeg
	}
	fetched, err := p.session.Run(map[tf.Output]*tf.Tensor{p.in: in}, []tf.Output{out}, nil)
	if err != nil {
		return nil, runError(err)
	}
	return fetched[0], nil
}

func brokenImage(i, of int, err error) error {
	if of == 1 || model.CodeOf(err) != model.InvalidArgument {
		return err
	}
	return &model.Error{Code: model.InvalidArgument, Message: fmt.Sprintf("image %d of %d: %v", i, of, err), Err: err}
}

// readableImages refuses what is no image or would take too much memory once decoded, by the images' headers. A BMP with a
// palette becomes a PNG: TensorFlow would take its indices for shades of grey.
func (m *savedModel) readableImages(t model.Tensor) (model.Tensor, error) {
	t.Strings = slices.Clone(t.Strings)
	for i, encoded := range t.Strings {
		c, format, err := image.DecodeConfig(bytes.NewReader(encoded))
		switch {
		case err != nil:
			return t, brokenImage(i, len(t.Strings), unreadable(err))
		case c.Width <= 0 || c.Height <= 0:
			return t, brokenImage(i, len(t.Strings), model.Errorf(model.InvalidArgument, "the %s has no pixels", format))
		case c.Width > math.MaxInt/c.Height || c.Width*c.Height > m.o.MaxPixels:
			return t, model.Errorf(model.TooLarge, "image %d is %d x %d pixels, over the limit of %d", i, c.Width, c.Height, m.o.MaxPixels)
		}
		if _, ok := c.ColorModel.(color.Palette); ok && format == "bmp" {
			if t.Strings[i], err = bmpToPNG(encoded); err != nil {
				return t, brokenImage(i, len(t.Strings), unreadable(err))
			}
		}
	}
	return t, nil
}

func unreadable(err error) error {
	return &model.Error{Code: model.InvalidArgument, Message: "not an image that can be read: expected JPEG, PNG, GIF or BMP", Err: err}
}

// bmpToPNG encodes a picture anew. What its palette lacks makes the encoder panic.
func bmpToPNG(encoded []byte) ([]byte, error) {
	picture, err := bmp.Decode(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	var failed error
	if err := guard(func() { failed = png.Encode(&out, picture) }); err != nil {
		return nil, err
	}
	return out.Bytes(), failed
}
