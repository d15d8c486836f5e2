package tensorflow

import (
	"context"
	"errors"
	"testing"

	"weir.dev/weir/functions/model"
)

// TestPredictionsWaitForAPlace has all places taken: who is tired of waiting leaves, and a place is given back after use.
func TestPredictionsWaitForAPlace(t *testing.T) {
	t.Parallel()
	loaded, err := Load(t.Context(), "../../build/models/digits/1", Options{InterOpThreads: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, ok := loaded.(*savedModel)
	if !ok || cap(m.places) != 2 || len(m.places) != 0 {
		t.Fatalf("%d of %d places are taken, expected none of 2", len(m.places), cap(m.places))
	}
	inputs, _ := SampleRow(m.meta.Signatures[model.DefaultSignature], 0)
	req := model.Request{Inputs: inputs}
	m.places <- struct{}{}
	m.places <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Predict(ctx, req); !errors.Is(err, context.Canceled) || len(m.places) != 2 {
		t.Errorf("who left got %v, and %d places are taken", err, len(m.places))
	}
	<-m.places
	for _, ctx := range []context.Context{t.Context(), context.WithoutCancel(ctx)} {
		if _, err := m.Predict(ctx, req); err != nil || len(m.places) != 1 {
			t.Errorf("got %v, and %d places are taken, expected the test's one", err, len(m.places))
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
