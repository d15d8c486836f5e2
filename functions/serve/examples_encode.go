package serve

import (
	"fmt"
	"strconv"

	"weir.dev/weir/functions/model"
)

func itoa(i int) string { return strconv.Itoa(i) }

// Outputs of the classify and regress methods: TensorFlow's signature_constants.
const (
	outputClasses = "classes"
	outputScores  = "scores"
	outputRegress = "outputs"
)

// results wraps what was written as {"result": …, "results": …}: TensorFlow Serving's documentation says the first name
// and its server the second, so that clients of both are kept.
func (w *tensorWriter) results(start int) []byte {
	body := w.b[start:]
	out := make([]byte, 0, 2*len(body)+32)
	out = append(append(out, `{"result":`...), body...)
	out = append(append(out, `,"results":`...), body...)
	return append(out, "}\n"...)
}

// classification is what a classify signature answers: width labels and scores for each example. One of them may be
// missing.
type classification struct {
	classes, scores model.Tensor
	width           int64
}

func newClassification(out model.Response, n int64) (classification, error) {
	c := classification{classes: out.Outputs[outputClasses], scores: out.Outputs[outputScores], width: -1}
	for _, t := range []model.Tensor{c.classes, c.scores} {
		if t.DType == model.Invalid {
			continue
		}
		if len(t.Shape) != 2 || t.Shape[0] != n || c.width >= 0 && t.Shape[1] != c.width {
			return c, fmt.Errorf("classify: classes %v and scores %v are not [%d, classes]", c.classes.Shape, c.scores.Shape, n)
		}
		c.width = t.Shape[1]
	}
	switch {
	case c.width < 0 || c.classes.DType != model.Bytes && c.classes.DType != model.Invalid:
		return c, fmt.Errorf("classify: expected string classes or scores, got outputs %v", out.Outputs)
	case !isReal(c.scores.DType) && c.scores.DType != model.Invalid:
		return c, fmt.Errorf("classify: scores are %v, expected FP32 or FP64", c.scores.DType)
	}
	return c, nil
}

func isReal(d model.DType) bool { return d == model.Float32 || d == model.Float64 }

func (c classification) label(i int64) []byte {
	if c.classes.DType == model.Invalid {
		return nil
	}
	return c.classes.Strings[i]
}

func (c classification) score(i int64) float64 {
	if c.scores.DType == model.Invalid {
		return 0
	}
	return realAt(c.scores, i)
}

// writeClassification writes a list of [label, score] per example.
func writeClassification(out model.Response, n int64, finite bool) ([]byte, error) {
	c, err := newClassification(out, n)
	if err != nil {
		return nil, err
	}
	w := &tensorWriter{finite: finite, b: []byte{'['}}
	for i := range n * c.width {
		switch {
		case i == 0:
			w.b = append(w.b, '[')
		case i%c.width == 0:
			w.b = append(w.b, "],["...)
		default:
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, '[')
		w.b = append(appendString(w.b, c.label(i)), ',')
		if c.scores.DType == model.Invalid {
			w.b = append(w.b, "0.0"...)
		} else if err := w.element(outputScores, c.scores, i, false); err != nil {
			return nil, err
		}
		w.b = append(w.b, ']')
	}
	if n*c.width > 0 {
		w.b = append(w.b, ']')
	}
	w.b = append(w.b, ']')
	return w.results(0), nil
}

// regression finds the one number per example that a regress signature answers.
func regression(out model.Response, n int64) (model.Tensor, error) {
	t, ok := out.Outputs[outputRegress]
	if !ok && len(out.Outputs) == 1 {
		for _, t = range out.Outputs {
			ok = true
		}
	}
	if !ok || t.Len() != n || !isReal(t.DType) {
		return t, fmt.Errorf("regress: expected an output %q of %d numbers, got %v %v", outputRegress, n, t.DType, t.Shape)
	}
	return t, nil
}

// writeRegression writes one number per example.
func writeRegression(out model.Response, n int64, finite bool) ([]byte, error) {
	t, err := regression(out, n)
	if err != nil {
		return nil, err
	}
	w := &tensorWriter{finite: finite}
	if _, err := w.nested(outputRegress, t, []int64{n}, 0, false); err != nil {
		return nil, err
	}
	return w.results(0), nil
}
