package tensorflow

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/bmp"

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
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	if meta := m.Metadata(); meta.Version != 2 || meta.Name != "imagenet" {
		t.Errorf("got %s version %d, want imagenet version 2, the highest", meta.Name, meta.Version)
	}
}

// TestPalettes: a picture means the same with a palette, whatever the format.
func TestPalettes(t *testing.T) {
	m := fixture(t, "fixtures/images_only/1")
	picture := image.NewPaletted(image.Rect(0, 0, 8, 8), color.Palette{color.RGBA{200, 30, 10, 255}, color.RGBA{10, 90, 250, 255}})
	for i := range picture.Pix {
		picture.Pix[i] = uint8(i / 32) // the upper half red, the lower one blue
	}
	var asPNG, asBMP bytes.Buffer
	if err := errors.Join(png.Encode(&asPNG, picture), bmp.Encode(&asBMP, picture)); err != nil {
		t.Fatal(err)
	}
	seen := func(encoded []byte) model.Tensor {
		resp, err := m.Predict(t.Context(), model.Request{Signature: ImageSignature, Inputs: map[string]model.Tensor{
			imageInput: {DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{encoded}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return resp.Outputs["seen"]
	}
	if got, want := seen(asBMP.Bytes()), seen(asPNG.Bytes()); !got.Equal(want) {
		t.Errorf("the model sees %v as BMP and %v as PNG", got, want)
	}
	// An index that the palette lacks.
	broken := asBMP.Bytes()
	broken[len(broken)-1] = 99
	if _, err := m.Predict(t.Context(), model.Request{Signature: ImageSignature, Inputs: map[string]model.Tensor{
		imageInput: {DType: model.Bytes, Shape: []int64{1}, Strings: [][]byte{broken}},
	}}); err != nil && model.CodeOf(err) == model.Internal {
		t.Errorf("a broken palette: %v", err)
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
