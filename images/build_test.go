package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// write makes files of a folder, by path.
func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sample is an image with a program and a model in it.
func sample(t *testing.T) Spec {
	t.Helper()
	dir := write(t, t.TempDir(), map[string]string{
		"saved_model.pb": strings.Repeat("graph ", 10_000), "variables/variables.index": "index", ".notes": "hidden", ".git/config": "hidden",
	})
	spec := Spec{Name: "half", Arch: "amd64", Entrypoint: "/bin/half", Env: []string{"A=1"}, Layers: []LayerSpec{
		{"base", []File{{Path: "/tmp", Mode: os.ModeDir | os.ModeSticky | 0o777}, {Path: "/etc/passwd", Data: []byte("root"), Mode: 0o644}}},
		{"program", []File{{Path: "/bin/half", Data: []byte("#!"), Mode: 0o755}}},
	}}
	if err := spec.addModel(dir, "1"); err != nil {
		t.Fatal(err)
	}
	return spec
}

func build(t *testing.T, o Options, specs ...Spec) []Image {
	t.Helper()
	built, err := Build(t.Context(), specs, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range built {
		if err := validate.Image(img.OCI, validate.Fast); err != nil {
			t.Error(err)
		}
		layers, err := img.OCI.Layers()
		if err != nil || len(layers) != len(img.Layers) {
			t.Fatalf("%d layers, want %d (%v)", len(layers), len(img.Layers), err)
		}
		for i, l := range layers {
			checkLayer(t, l, img.Layers[i])
		}
	}
	return built
}

// checkLayer reads a layer whole: validate's own check knows gzip only.
func checkLayer(t *testing.T, l v1.Layer, said Layer) {
	t.Helper()
	sum := func(open func() (io.ReadCloser, error)) (v1.Hash, int64) {
		r, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		h, n, err := v1.SHA256(r)
		if err != nil {
			t.Fatal(err)
		}
		return h, n
	}
	if h, n := sum(l.Compressed); h != said.Digest || n != said.Packed {
		t.Errorf("layer %s is %s with %d bytes, said to be %s with %d", said.Name, h, n, said.Digest, said.Packed)
	}
	diffID, err := l.DiffID()
	if h, n := sum(l.Uncompressed); err != nil || h != diffID || n != said.Unpacked {
		t.Errorf("layer %s unpacks to %s with %d bytes, said to be %s with %d", said.Name, h, n, diffID, said.Unpacked)
	}
}

// listing is what an image's files are when its layers lie one over the other.
func listing(t *testing.T, img v1.Image) []string {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	var lines []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%c %04o %d:%d %d %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Name))
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	for _, gzip := range []bool{false, true} {
		t.Run(fmt.Sprintf("gzip=%v", gzip), func(t *testing.T) {
			t.Parallel()
			img := build(t, Options{Dir: t.TempDir(), Gzip: gzip}, sample(t))[0]
			config, err := img.OCI.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if got := config.Config; got.User != "65532:65532" || !cmp.Equal(got.Entrypoint, []string{"/bin/half"}) || !cmp.Equal(got.Env, []string{"A=1"}) {
				t.Errorf("config %+v", got)
			}
			want := []string{
				"5 0755 0:0 0 models", "5 0755 0:0 0 models/half", "5 0755 0:0 0 models/half/1",
				"0 0644 0:0 0 models/half/1/saved_model.pb",
				"5 0755 0:0 0 models/half/1/variables", "0 0644 0:0 0 models/half/1/variables/variables.index",
				"5 0755 0:0 0 bin", "0 0755 0:0 0 bin/half",
				"5 0755 0:0 0 etc", "0 0644 0:0 0 etc/passwd", "5 1777 0:0 0 tmp",
			}
			if diff := cmp.Diff(want, listing(t, img.OCI)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReproducible builds the same files from two folders, at other times and with other permissions.
func TestReproducible(t *testing.T) {
	t.Parallel()
	first := build(t, Options{Dir: t.TempDir()}, sample(t))[0]
	spec := sample(t)
	for _, f := range spec.Layers[2].Files {
		if err := os.Chtimes(f.Source, epoch.Time, epoch.Time); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f.Source, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if second := build(t, Options{Dir: t.TempDir()}, spec)[0]; second.Digest != first.Digest {
		t.Errorf("digests %s and %s of the same files", first.Digest, second.Digest)
	}
	if err := os.WriteFile(spec.Layers[2].Files[0].Source, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if third := build(t, Options{Dir: t.TempDir()}, spec)[0]; third.Digest == first.Digest {
		t.Error("another file makes the same digest")
	}
}

// TestLayout has two images in a layout: building one again leaves the other, keeps the layers that they share, and
// removes what no image needs.
func TestLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := sample(t), sample(t)
	two.Name = "other"
	build(t, Options{Dir: dir}, one, two)
	shared := filepath.Join(dir, "blobs", "sha256", build(t, Options{Dir: dir}, one)[0].Layers[0].Digest.Hex)
	before, err := os.Stat(shared)
	if err != nil {
		t.Fatal(err)
	}
	one.Layers[1].Files[0].Data = []byte("#!changed")
	again := build(t, Options{Dir: dir}, one)[0]
	if after, err := os.Stat(shared); err != nil || !os.SameFile(before, after) {
		t.Errorf("a layer that was there was made again (%v)", err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]v1.Hash{}
	for _, m := range manifest.Manifests {
		names[m.Annotations[refName]] = m.Digest
	}
	if len(names) != 2 || names["weir/half:latest"] != again.Digest {
		t.Errorf("the layout has %v, want weir/half:latest at %s and weir/other:latest", names, again.Digest)
	}
	// Two manifests, two configs, and four layers: the base, two programs, a model.
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256"))
	if err != nil || len(blobs) != 8 {
		t.Errorf("%d blobs, want 8 (%v)", len(blobs), err)
	}
}

// TestDamagedBlob makes a layer again whose blob was cut short.
func TestDamagedBlob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	img := build(t, Options{Dir: dir}, sample(t))[0]
	if err := os.Truncate(filepath.Join(dir, "blobs", "sha256", img.Layers[2].Digest.Hex), 5); err != nil {
		t.Fatal(err)
	}
	build(t, Options{Dir: dir}, sample(t))
}

// TestBuildFails leaves nothing behind that a later build would take for a layer.
func TestBuildFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec := sample(t)
	spec.Layers = append(spec.Layers, LayerSpec{"broken", []File{{Path: "/gone", Source: "/no/such/file", Mode: 0o644}}})
	_, err := Build(t.Context(), []Spec{spec}, Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "image weir/half: layer broken:") {
		t.Errorf("error %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".layer-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	built := build(t, Options{Dir: t.TempDir()}, sample(t))
	var told []string
	addresses, err := Push(t.Context(), built, PushOptions{To: host + "/me/", Tag: "v1"}, func(a string) { told = append(told, a) })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{host + "/me/weir/half@" + built[0].Digest.String()}
	if !cmp.Equal(addresses, want) || !cmp.Equal(told, want) {
		t.Errorf("addresses %v, told %v, want %v", addresses, told, want)
	}
	for _, address := range []string{want[0], host + "/me/weir/half:v1"} {
		ref, err := name.ParseReference(address)
		if err != nil {
			t.Fatal(err)
		}
		img, err := remote.Image(ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(listing(t, built[0].OCI), listing(t, img)); diff != "" {
			t.Errorf("%s has other files (-built +pulled):\n%s", address, diff)
		}
	}
	for _, to := range []string{"no registry", "127.0.0.1:1"} {
		if _, err := Push(t.Context(), built, PushOptions{To: to}, func(string) {}); err == nil {
			t.Errorf("pushed to %q", to)
		}
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	built := build(t, Options{Dir: t.TempDir(), Gzip: true}, sample(t))
	file := filepath.Join(t.TempDir(), "images.tar")
	if err := Save(file, built); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("weir/half:latest")
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listing(t, built[0].OCI), listing(t, img)); diff != "" {
		t.Errorf("the archive has other files (-built +saved):\n%s", diff)
	}
}

// TestBuildCancelled ends while another process has the folder.
func TestBuildCancelled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := openStore(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, []Spec{sample(t)}, Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestInspect finds for the shell what its own loader finds.
func TestInspect(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	p, err := inspect(program)
	if err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command(p.loader, "--list", program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, list)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(list)) {
		if soname, rest, ok := strings.Cut(strings.TrimSpace(line), " => "); ok && !strings.Contains(soname, "/") {
			file, _, _ := strings.Cut(rest, " (")
			if found[soname], err = filepath.EvalSymlinks(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := map[string]string{}
	for _, l := range p.libraries {
		got[l.name] = l.file
	}
	if diff := cmp.Diff(found, got); diff != "" || len(got) == 0 {
		t.Errorf("libraries of %s (-loader +inspect):\n%s", program, diff)
	}
	if _, err := inspect("/etc/passwd"); err == nil || !strings.Contains(err.Error(), "images are for Linux") {
		t.Errorf("error %v", err)
	}
}
