package functions

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"weir.dev/weir/functions/model"
)

func floats(values ...float32) []byte {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

// TestLargest compares with a sort of everything, on scores with many equal ones and NaN.
func TestLargest(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		scores := make([]float32, 5+random.IntN(40))
		for i := range scores {
			scores[i] = float32(random.IntN(9)) / 8
			if random.IntN(12) == 0 {
				scores[i] = float32(math.NaN())
			}
		}
		want := make([]int, len(scores))
		for i := range want {
			want[i] = i
		}
		slices.SortStableFunc(want, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
		k := 1 + random.IntN(5)
		if diff := gocmp.Diff(want[:k], largest(floats(scores...), k)); diff != "" {
			t.Fatalf("the %d largest of %v (-want +got):\n%s", k, scores, diff)
		}
	}
}

func TestTopK(t *testing.T) {
	t.Parallel()
	hook := TopK("image_bytes", "probabilities", 2, []string{"cat", "dog", "cup"})
	resp := &model.Response{Outputs: map[string]model.Tensor{
		"probabilities": {DType: model.Float32, Shape: []int64{2, 3}, Data: floats(0.1, 0.7, 0.2, 0.5, 0.1, 0.4)},
	}}
	if err := hook.After(t.Context(), resp); err != nil {
		t.Fatal(err)
	}
	got := resp.Outputs
	if want, labels := "[dog cup cat cup]", fmt.Sprintf("%s", got["labels"].Strings); labels != want {
		t.Errorf("labels are %s, want %s", labels, want)
	}
	if diff := gocmp.Diff(floats(0.7, 0.2, 0.5, 0.4), got["scores"].Data); diff != "" {
		t.Errorf("scores (-want +got):\n%s", diff)
	}
	if want := []int64{2, 2}; !slices.Equal(got["classes"].Shape, want) || got["classes"].Data[0] != 1 {
		t.Errorf("classes are %v of shape %v", got["classes"].Data, got["classes"].Shape)
	}
	for name, bad := range map[string]model.Tensor{
		"other classes": {DType: model.Float32, Shape: []int64{1, 2}, Data: floats(1, 2)},
		"other type":    {DType: model.Int64, Shape: []int64{1, 3}},
		"no output":     {},
	} {
		if err := hook.After(t.Context(), &model.Response{Outputs: map[string]model.Tensor{"probabilities": bad}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkLargest(b *testing.B) {
	scores := make([]float32, 1000)
	for i := range scores {
		scores[i] = rand.Float32()
	}
	data := floats(scores...)
	b.ReportAllocs()
	for b.Loop() {
		largest(data, 5)
	}
}
