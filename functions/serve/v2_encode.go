package serve

import (
	"fmt"
	"net/http"
	"strconv"

	"weir.dev/weir/functions/model"
)

// contentBinary is the content type of tensors as bytes.
const contentBinary = "application/octet-stream"

// v2Form is what an inference response may hold.
type v2Form struct {
	// binary allows tensors in binary form; without it the answer is JSON alone.
	binary bool
	// finite keeps the JSON strict, as part of an event's: without NaN and the infinities. Elsewhere they are written as such, as
	// Triton and /v1 do: their clients read them, and a client that does not says so, while null some would take for 0.
	finite bool
}

// v2Answer is an inference response: JSON, and binary data behind it if some was asked for.
type v2Answer struct {
	json, tail []byte
	binary     bool
}

func (a v2Answer) write(w http.ResponseWriter) error {
	if !a.binary {
		return writeJSON(w, a.json)
	}
	h := w.Header()
	h.Set("Content-Type", contentBinary)
	h.Set(headerJSONLength, strconv.Itoa(len(a.json)))
	h.Set("Content-Length", strconv.Itoa(len(a.json)+len(a.tail)))
	// A client that is gone is nobody's error.
	if _, err := w.Write(a.json); err == nil {
		_, _ = w.Write(a.tail)
	}
	return nil
}

// writeInfer encodes the outputs that were asked for, in the order in which they were; all by name if none were.
func writeInfer(st *state, req inferRequest, out model.Response, form v2Form) (v2Answer, error) {
	var a v2Answer
	wanted, err := req.wanted(out)
	if err != nil {
		return a, err
	}
	w := &tensorWriter{finite: form.finite, noHalves: true, text: true}
	w.b = append(appendString(append(w.b, `{"model_name":`...), st.meta.Name), `,"model_version":"`...)
	w.b = append(strconv.AppendInt(w.b, st.meta.Version, 10), '"')
	if req.id != "" {
		w.b = appendString(append(w.b, `,"id":`...), req.id)
	}
	w.b = append(w.b, `,"outputs":[`...)
	for i, o := range wanted {
		t := out.Outputs[o.name]
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.head(o.name, t)
		if o.binary && form.binary {
			before := len(a.tail)
			a.tail, a.binary = appendBinary(a.tail, t), true
			w.b = append(w.b, `,"parameters":{"binary_data_size":`...)
			w.b = append(strconv.AppendInt(w.b, int64(len(a.tail)-before), 10), "}}"...)
			continue
		}
		w.b = append(w.b, `,"data":`...)
		if _, err := w.nested(o.name, t, []int64{t.Len()}, 0, false); err != nil {
			return a, err
		}
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, "]}"...)
	a.json = w.b
	return a, nil
}

func errNoOutput(name string) error { return fmt.Errorf("the model gave no output %q", name) }

// head writes what an output says of itself before its data.
func (w *tensorWriter) head(name string, t model.Tensor) {
	w.b = appendString(append(w.b, `{"name":`...), name)
	w.b = append(append(w.b, `,"datatype":"`...), t.DType.String()...)
	w.b = append(w.b, `","shape":[`...)
	for i, d := range t.Shape {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = strconv.AppendInt(w.b, d, 10)
	}
	w.b = append(w.b, ']')
}
