package serve

import (
	"math"
	"testing"

	"weir.dev/weir/functions/model"
)

func TestBestClasses(t *testing.T) {
	t.Parallel()
	few := func(d model.DType, bytes ...byte) model.Tensor {
		return model.Tensor{DType: d, Shape: []int64{int64(len(bytes) / d.Size())}, Data: bytes}
	}
	nan := float32(math.NaN())
	inf := float32(math.Inf(1))
	tests := []struct {
		name string
		of   model.Tensor
		want model.Tensor
	}{
		{"a row of rows", floats([]int64{1, 2, 2}, 1, 4, 3, 2), texts([]int64{1, 2}, "4.000000:1", "3.000000:2")},
		{"no numbers come last", floats([]int64{1, 3}, nan, -1, inf), texts([]int64{1, 2}, "+Inf:2", "-1.000000:1")},
		{"what a double would round", int64s([]int64{1, 2}, 1<<60, 1<<60+1), texts([]int64{1, 2}, "1152921504606846977:1", "1152921504606846976:0")},
		{"signed", few(model.Int8, 0xff, 0x01), texts([]int64{2, 1}, "-1:0", "1:0")},
		{"unsigned", few(model.Uint8, 0xff, 0x01), texts([]int64{2, 1}, "255:0", "1:0")},
		{"unsigned, of 64 bits", few(model.Uint64, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), texts([]int64{1, 1}, "18446744073709551615:0")},
		{"half", few(model.Float16, 0x00, 0x3e), texts([]int64{1, 1}, "1.500000:0")},
		{"brain float", few(model.BFloat16, 0xc0, 0x3f), texts([]int64{1, 1}, "1.500000:0")},
		{"rows of nothing", floats([]int64{2, 0}), texts([]int64{2, 0})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := bestClasses(tt.of, true, 2)
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Check(); err != nil || !got.Equal(tt.want) {
				t.Errorf("%v %q, want %v %q (%v)", got.Shape, got.Strings, tt.want.Shape, tt.want.Strings, err)
			}
		})
	}
	if _, err := bestClasses(model.Tensor{DType: model.Int8, Shape: []int64{classesLimit + 1, 1}, Data: make([]byte, classesLimit+1)}, true, 1); err == nil {
		t.Error("more classes than the limit were made")
	}
}
