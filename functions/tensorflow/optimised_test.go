package tensorflow

import "testing"

func TestWhatWasOptimisedAtExport(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"imagenet/1": true, "imagenet/2": true, "embed/1": true, "digits/1": false} {
		graph, err := readMetaGraph("../../build/models/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := isOptimised(graph); got != want {
			t.Errorf("%s: optimised %v, want %v", name, got, want)
		}
	}
}
