package knative

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func TestPin(t *testing.T) {
	t.Parallel()
	digest := func(c string) string { return "@sha256:" + strings.Repeat(c, 64) }
	addresses := []string{"10.0.0.1:5000/me/weir/imagenet" + digest("a"), "10.0.0.1:5000/me/weir/router" + digest("b"), "10.0.0.1:5000/me/weir/savedmodel" + digest("c")}
	for _, base := range []string{"local", "kind", "next"} {
		dir := filepath.Join(t.TempDir(), "deploy")
		if err := Pin(dir, filepath.Join("overlays", base), addresses); err != nil {
			t.Fatal(err)
		}
		made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
		if err != nil {
			t.Fatal(err)
		}
		images := map[string]bool{}
		for _, res := range made.Resources() {
			if res.GetKind() != "Service" {
				continue
			}
			text, err := res.AsYAML()
			if err != nil {
				t.Fatal(err)
			}
			services, err := Parse(base, text)
			if err != nil {
				t.Fatal(err)
			}
			images[services[0].Spec.Template.Spec.Containers[0].Image] = true
		}
		before := "localhost:5001/"
		if base == "local" {
			before = ""
		}
		want := []string{addresses[0], addresses[1], before + "weir/digits", before + "weir/embed"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(images))); diff != "" {
			t.Errorf("images over %s:\n%s", base, diff)
		}
	}
	dir := t.TempDir()
	if err := Pin(dir, "overlays/kind", addresses[2:]); err == nil || !strings.Contains(err.Error(), "has none of the images") {
		t.Errorf("error %v", err)
	}
	if err := Pin(dir, "no/such", addresses); err == nil {
		t.Error("a base that is not there is taken")
	}
}
