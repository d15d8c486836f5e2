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

// writeClassification writes a list of [label, score] per example.
func writeClassification(out model.Response, n int64, finite bool) ([]byte, error) {
	classes, hasClasses := out.Outputs[outputClasses]
	scores, hasScores := out.Outputs[outputScores]
	width := int64(-1)
	for _, t := range []model.Tensor{classes, scores} {
		if t.DType == model.Invalid {
			continue
		}
		if len(t.Shape) != 2 || t.Shape[0] != n || width >= 0 && t.Shape[1] != width {
			return nil, fmt.Errorf("classify: classes %v and scores %v are not [%d, classes]", classes.Shape, scores.Shape, n)
		}
		width = t.Shape[1]
	}
	if hasClasses && classes.DType != model.Bytes || width < 0 {
		return nil, fmt.Errorf("classify: expected string classes or scores, got outputs %v", out.Outputs)
	}
	w := &tensorWriter{finite: finite, b: []byte{'['}}
	for i := range n * width {
		switch {
		case i == 0:
			w.b = append(w.b, '[')
		case i%width == 0:
			w.b = append(w.b, "],["...)
		default:
			w.b = append(w.b, ',')
		}
		w.b = append(w.b, '[')
		label := []byte{}
		if hasClasses {
			label = classes.Strings[i]
		}
		w.b = append(appendString(w.b, label), ',')
		if !hasScores {
			w.b = append(w.b, "0.0"...)
		} else if err := w.element(outputScores, scores, i, false); err != nil {
			return nil, err
		}
		w.b = append(w.b, ']')
	}
	if n*width > 0 {
		w.b = append(w.b, ']')
	}
	w.b = append(w.b, ']')
	return w.results(0), nil
}

// writeRegression writes one number per example.
func writeRegression(out model.Response, n int64, finite bool) ([]byte, error) {
	t, ok := out.Outputs[outputRegress]
	if !ok && len(out.Outputs) == 1 {
		for _, t = range out.Outputs {
			ok = true
		}
	}
	if !ok || t.Len() != n {
		return nil, fmt.Errorf("regress: expected an output %q of %d numbers, got shape %v", outputRegress, n, t.Shape)
	}
	w := &tensorWriter{finite: finite}
	if _, err := w.nested(outputRegress, t, []int64{n}, 0, false); err != nil {
		return nil, err
	}
	return w.results(0), nil
}
