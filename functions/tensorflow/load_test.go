package tensorflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir.dev/weir/functions/model"
)

func TestFoldersThatAreNoModel(t *testing.T) {
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "saved_model.pb"), []byte("not a protocol buffer"), 0o600); err != nil {
		t.Fatal(err)
	}
	hollow := t.TempDir()
	if err := os.WriteFile(filepath.Join(hollow, "saved_model.pb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	noWeights := t.TempDir()
	pb, err := os.ReadFile("../../build/models/digits/1/saved_model.pb")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(noWeights, "saved_model.pb"), pb, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, dir, want string }{
		{"empty folder", t.TempDir(), "is no SavedModel"},
		{"no folder", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"garbage", garbage, "is no SavedModel"},
		{"empty file", hollow, `no graph with the tag "serve"`},
		{"no variables", noWeights, "Could not find variable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Load(t.Context(), c.dir, Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestVersionFolders(t *testing.T) {
	m, err := Load(t.Context(), "../../build/models/imagenet", Options{SkipWarm: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if meta := m.Metadata(); meta.Version != 2 || meta.Name != "imagenet" {
		t.Errorf("got %s version %d, want imagenet version 2, the highest", meta.Name, meta.Version)
	}
}

func TestWhatIsNoPicture(t *testing.T) {
	m := fixture(t, "fixtures/images_only/1")
	png, err := os.ReadFile("../../build/samples/coffee.png")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(pictures ...[]byte) error {
		_, err := m.Predict(t.Context(), model.Request{Signature: ImageSignature, Inputs: map[string]model.Tensor{
			imageInput: {DType: model.Bytes, Shape: []int64{int64(len(pictures))}, Strings: pictures},
		}})
		return err
	}
	for _, c := range []struct {
		name     string
		pictures [][]byte
		want     string
	}{
		{"text", [][]byte{[]byte("hi")}, "not an image"},
		{"half of one", [][]byte{png[:len(png)/2]}, "the model refused its input"},
		{"the second of two", [][]byte{png, []byte("hi")}, "image 1 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := ask(c.pictures...)
			if err == nil || model.CodeOf(err) != model.InvalidArgument || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want the caller's fault with %q", err, c.want)
			}
		})
	}
	if err := ask(png); err != nil {
		t.Errorf("a picture after broken ones: %v", err)
	}
}
