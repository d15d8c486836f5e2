package serve

import (
	"maps"
	"slices"
	"strings"

	"weir.dev/weir/functions/model"
)

// writePredictions writes {"predictions": […]} for rows, {"outputs": …} for columns. A single output goes unnamed.
func writePredictions(out model.Response, rows, finite bool) ([]byte, error) {
	names := slices.Sorted(maps.Keys(out.Outputs))
	w := &tensorWriter{finite: finite, b: make([]byte, 0, guess(out))}
	var err error
	if rows {
		err = w.rows(out.Outputs, names)
	} else {
		err = w.columns(out.Outputs, names)
	}
	if err != nil {
		return nil, err
	}
	w.b = append(w.b, "}\n"...)
	return w.b, nil
}

// guess is about how many bytes the outputs take as JSON.
func guess(out model.Response) int64 {
	n := int64(64)
	for _, t := range out.Outputs {
		n += 12 * t.Len()
	}
	return min(n, 64<<20)
}

func (w *tensorWriter) columns(out map[string]model.Tensor, names []string) error {
	w.b = append(w.b, `{"outputs":`...)
	if len(names) == 1 {
		t := out[names[0]]
		_, err := w.nested(names[0], t, t.Shape, 0, isBytesName(names[0]))
		return err
	}
	w.b = append(w.b, '{')
	for i, name := range names {
		w.key(i, name)
		if _, err := w.nested(name, out[name], out[name].Shape, 0, isBytesName(name)); err != nil {
			return err
		}
	}
	w.b = append(w.b, '}')
	return nil
}

func (w *tensorWriter) rows(out map[string]model.Tensor, names []string) error {
	count := int64(-1)
	for _, name := range names {
		t := out[name]
		if len(t.Shape) == 0 || count >= 0 && t.Shape[0] != count {
			return badRequest(`output %q has shape %v, which has no row for each instance: send "inputs" instead of "instances"`, name, t.Shape)
		}
		count = t.Shape[0]
	}
	w.b = append(w.b, `{"predictions":[`...)
	next := make([]int64, len(names))
	for row := range count {
		if row > 0 {
			w.b = append(w.b, ',')
		}
		if len(names) > 1 {
			w.b = append(w.b, '{')
		}
		for i, name := range names {
			if len(names) > 1 {
				w.key(i, name)
			}
			var err error
			if next[i], err = w.nested(name, out[name], out[name].Shape[1:], next[i], isBytesName(name)); err != nil {
				return err
			}
		}
		if len(names) > 1 {
			w.b = append(w.b, '}')
		}
	}
	w.b = append(w.b, ']')
	return nil
}

func (w *tensorWriter) key(i int, name string) {
	if i > 0 {
		w.b = append(w.b, ',')
	}
	w.b = append(appendString(w.b, name), ':')
}

// isBytesName says whether an output's strings are bytes: TensorFlow Serving's rule of names that end in _bytes.
func isBytesName(name string) bool { return strings.HasSuffix(name, "_bytes") }
