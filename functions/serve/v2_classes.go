package serve

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"weir.dev/weir/functions/model"
)

// classesLimit bounds the classes of an answer: each takes many times the memory of the number that it is made of.
const classesLimit = 1 << 20

// classify puts the best classes in the place of the outputs of which they were asked for: Triton's classification extension
// (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md).
func (r inferRequest) classify(sig model.Signature, out model.Response) (model.Response, error) {
	if !slices.ContainsFunc(r.outputs, func(o inferOutput) bool { return o.classes > 0 }) {
		return out, nil
	}
	out.Outputs = maps.Clone(out.Outputs)
	for i, o := range r.outputs {
		t, ok := out.Outputs[o.name]
		if !ok || o.classes == 0 {
			continue // what is missing is an error of the model's, told where the answer is written
		}
		spec, _ := sig.Output(o.name)
		var err error
		if out.Outputs[o.name], err = bestClasses(t, spec.Batched(), o.classes); err != nil {
			return out, badRequest("outputs[%d]: output %q: %v", i, o.name, err)
		}
	}
	return out, nil
}

// bestClasses are the count largest numbers of each row, largest first, as "value:index". A tensor without a batch is one row.
func bestClasses(t model.Tensor, batched bool, count int64) (model.Tensor, error) {
	classes := model.Tensor{DType: model.Bytes, Strings: [][]byte{}}
	rows := int64(1)
	if batched && len(t.Shape) > 0 {
		rows, classes.Shape = t.Shape[0], t.Shape[:1:1]
	}
	if rows > 0 {
		count = min(count, t.Len()/rows)
	}
	if rows*count > classesLimit {
		return classes, fmt.Errorf("%d classes for each of %d rows are over the limit of %d in all", count, rows, classesLimit)
	}
	classes.Shape = append(classes.Shape, count)
	switch t.DType {
	case model.Bool, model.Bytes:
		return classes, fmt.Errorf("%v has no order: classes are asked for of numbers", t.DType)
	case model.Uint64:
		classes.Strings = best(integersOf[uint64](t), rows, count, func(b []byte, v uint64) []byte { return strconv.AppendUint(b, v, 10) })
	case model.Float16, model.BFloat16, model.Float32, model.Float64:
		// Six digits after the point are Triton's.
		classes.Strings = best(realsOf(t), rows, count, func(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'f', 6, 64) })
	default:
		classes.Strings = best(integersOf[int64](t), rows, count, func(b []byte, v int64) []byte { return strconv.AppendInt(b, v, 10) })
	}
	return classes, nil
}

// best is bestClasses of numbers. Of equal ones the first comes first, and what is no number comes last.
func best[T cmp.Ordered](values []T, rows, count int64, text func([]byte, T) []byte) [][]byte {
	found := make([][]byte, 0, rows*count)
	if len(values) == 0 {
		return found
	}
	width := len(values) / int(rows)
	order := make([]int, width)
	for row := range slices.Chunk(values, width) {
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(row[b], row[a]) })
		for _, i := range order[:count] {
			found = append(found, strconv.AppendInt(append(text(nil, row[i]), ':'), int64(i), 10))
		}
	}
	return found
}

// realsOf are the elements of a tensor of real numbers.
func realsOf(t model.Tensor) []float64 {
	out := make([]float64, t.Len())
	for i := range out {
		out[i] = realAt(t, int64(i))
	}
	return out
}
