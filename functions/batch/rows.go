package batch

import (
	"fmt"

	"weir.dev/weir/functions/model"
)

// countRows returns the first dimension that all inputs of a valid request share, -1 if they differ.
func countRows(req model.Request) int {
	rows := int64(-1)
	for _, t := range req.Inputs {
		switch {
		case len(t.Shape) == 0, rows >= 0 && t.Shape[0] != rows:
			return -1
		}
		rows = t.Shape[0]
	}
	return int(rows)
}

// join makes one request of several, whose rows follow each other in their order.
func join(calls []*call, rows int) model.Request {
	first := calls[0].req
	out := model.Request{Signature: first.Signature, Outputs: first.Outputs, Inputs: make(map[string]model.Tensor, len(first.Inputs))}
	for name, like := range first.Inputs {
		t := model.Tensor{DType: like.DType, Shape: append([]int64{int64(rows)}, like.Shape[1:]...)}
		if like.DType == model.Bytes {
			t.Strings = make([][]byte, 0, t.Len())
		} else {
			t.Data = make([]byte, 0, t.Len()*int64(like.DType.Size()))
		}
		for _, c := range calls {
			in := c.req.Inputs[name]
			t.Data = append(t.Data, in.Data...)
			t.Strings = append(t.Strings, in.Strings...)
		}
		out.Inputs[name] = t
	}
	return out
}

// split gives each call its rows of an answer. The parts share the answer's memory.
func split(resp model.Response, calls []*call, rows int) ([]model.Response, error) {
	for name, t := range resp.Outputs {
		if len(t.Shape) == 0 || t.Shape[0] != int64(rows) {
			return nil, fmt.Errorf("output %q has shape %v for %d rows", name, t.Shape, rows)
		}
	}
	parts := make([]model.Response, len(calls))
	at := 0
	for i, c := range calls {
		parts[i].Outputs = make(map[string]model.Tensor, len(resp.Outputs))
		for name, t := range resp.Outputs {
			parts[i].Outputs[name] = slice(t, at, c.rows)
		}
		at += c.rows
	}
	return parts, nil
}

// slice returns n rows of a tensor that has some.
func slice(t model.Tensor, from, n int) model.Tensor {
	out := model.Tensor{DType: t.DType, Shape: append([]int64{int64(n)}, t.Shape[1:]...)}
	rows := int(t.Shape[0])
	if t.DType == model.Bytes {
		one := len(t.Strings) / rows
		out.Strings = t.Strings[from*one : (from+n)*one : (from+n)*one]
		return out
	}
	one := len(t.Data) / rows
	out.Data = t.Data[from*one : (from+n)*one : (from+n)*one]
	return out
}
