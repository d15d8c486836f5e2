// Package images makes container images of what `make build` built, without a Docker daemon: the router, and each
// function with the TensorFlow libraries and its models. The same inputs make the same digest. It knows nothing of
// clusters.
package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Prefix is before a model's name in its image's name, as the manifests have it.
const Prefix = "weir/"

// Names of the images that are no model's.
const (
	Router     = "router"
	SavedModel = "savedmodel" // the function for any SavedModel, with no model in it
)

// Spec says what is in an image.
type Spec struct {
	// Name is that of the model, or Router or SavedModel; the image's is Prefix + Name.
	Name string
	// Arch is the processor's architecture, in Go's words.
	Arch string
	// Entrypoint is the program.
	Entrypoint string
	// Env is the program's environment, KEY=VALUE.
	Env []string
	// Layers, those first that most images share.
	Layers []LayerSpec
}

// LayerSpec says what is in a layer.
type LayerSpec struct {
	Name  string
	Files []File
}

// Names lists the images that can be made of a checkout's build outputs, sorted.
func Names(root string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(root, "bin", "functions"))
	if err != nil {
		return nil, fmt.Errorf("no functions are built: make build: %w", err)
	}
	names := []string{Router}
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Of returns what is in the image of a name, made of a checkout's build outputs.
func Of(root, name string) (Spec, error) {
	if name == Router {
		return routerSpec(root)
	}
	spec, err := functionSpec(root, name, name)
	if err != nil || name == SavedModel {
		return spec, errors.Join(err, spec.addFetch(root))
	}
	versions, err := filepath.Glob(filepath.Join(root, "build", "models", name, "[1-9]*"))
	if err == nil && len(versions) == 0 {
		err = fmt.Errorf("build/models/%s has no version: make models", name)
	}
	for _, dir := range versions {
		err = errors.Join(err, spec.addModel(dir, filepath.Base(dir)))
	}
	return spec, err
}

// OfModel returns what is in the image of any SavedModel: the function for those, and the model's folder.
func OfModel(root, name, dir, version string) (Spec, error) {
	spec, err := functionSpec(root, name, SavedModel)
	if err != nil {
		return spec, err
	}
	return spec, spec.addModel(dir, version)
}

// addFetch puts weir-fetch beside the program: a model may be given by its address in a bucket.
func (s *Spec) addFetch(root string) error {
	file := filepath.Join(root, "bin", "weir-fetch")
	if _, err := os.Stat(file); err != nil {
		return errors.New("bin/weir-fetch is missing: make build")
	}
	s.Layers = append(s.Layers, LayerSpec{"weir-fetch", []File{{Path: "/usr/local/bin/weir-fetch", Source: file, Mode: 0o755, Strip: true}}})
	return nil
}

// addModel puts a version of a model in a layer of its own, where the manifests look for it.
func (s *Spec) addModel(dir, version string) error {
	files, err := Folder(dir, path.Join("/models", s.Name, version))
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	s.Layers = append(s.Layers, LayerSpec{"model " + s.Name + " " + version, files})
	return nil
}

func routerSpec(root string) (Spec, error) {
	file := filepath.Join(root, "bin", Router)
	p, err := inspect(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Spec{}, errors.New("bin/router is missing: make build")
	}
	if err != nil {
		return Spec{}, err
	}
	if p.loader != "" {
		return Spec{}, fmt.Errorf("%s is linked to %s: the router is built with CGO_ENABLED=0", file, p.loader)
	}
	base, err := baseLayer()
	if err != nil {
		return Spec{}, err
	}
	program := File{Path: "/usr/local/bin/" + Router, Source: file, Mode: 0o755, Strip: true}
	return Spec{
		Name:       Router,
		Arch:       p.arch,
		Entrypoint: program.Path,
		Env:        []string{"PATH=/usr/local/bin"},
		Layers:     []LayerSpec{base, {"program", []File{program}}},
	}, nil
}

// functionSpec is an image with a function and what it is linked to, without a model.
func functionSpec(root, name, function string) (Spec, error) {
	file := filepath.Join(root, "bin", "functions", function)
	p, err := inspect(file)
	if errors.Is(err, fs.ErrNotExist) {
		names, err := Names(root)
		return Spec{}, errors.Join(fmt.Errorf("no image %s: there are %s, and with --model one of any name", function, strings.Join(names, ", ")), err)
	}
	if err != nil {
		return Spec{}, err
	}
	base, err := baseLayer()
	if err != nil {
		return Spec{}, err
	}
	system := LayerSpec{Name: "C library", Files: []File{{Path: p.loader, Source: p.loader, Mode: 0o755}}}
	tensorflow := LayerSpec{Name: "TensorFlow"}
	for _, l := range p.libraries {
		f := File{Path: path.Join(libraryFolder, l.name), Source: l.file, Mode: 0o644}
		if strings.HasPrefix(l.name, "libtensorflow") {
			f.Strip = true
			tensorflow.Files = append(tensorflow.Files, f)
			continue
		}
		system.Files = append(system.Files, f)
	}
	program := File{Path: "/usr/local/bin/" + function, Source: file, Mode: 0o755, Strip: true}
	return Spec{
		Name:       name,
		Arch:       p.arch,
		Entrypoint: program.Path,
		Env: []string{
			"PATH=/usr/local/bin", "LD_LIBRARY_PATH=" + libraryFolder, "MODEL_DIR=" + path.Join("/models", name),
			"TF_CPP_MIN_LOG_LEVEL=2", "TF_ENABLE_ONEDNN_OPTS=1", "WEIR_CACHE=" + cacheFolder,
		},
		Layers: []LayerSpec{base, system, tensorflow, {"program", []File{program}}},
	}, nil
}

// cacheFolder is where a function keeps the models that it fetches: a volume that can be written is to be mounted there.
const cacheFolder = "/cache"

// User is who an image's program runs as.
const User = "65532:65532"

// baseLayer is what every image has.
func baseLayer() (LayerSpec, error) {
	roots, err := certificates()
	return LayerSpec{"base", []File{
		{Path: "/etc/passwd", Data: []byte("root:x:0:0:root:/:/nonexistent\nweir:x:65532:65532:weir:/tmp:/nonexistent\n"), Mode: 0o644},
		{Path: "/etc/group", Data: []byte("root:x:0:\nweir:x:65532:\n"), Mode: 0o644},
		{Path: "/etc/ssl/certs/ca-certificates.crt", Source: roots, Mode: 0o644},
		{Path: cacheFolder, Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}}, err
}

// certificates finds the certificate authorities that this machine trusts; Go looks in these places, too.
func certificates() (string, error) {
	for _, name := range []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"} {
		if _, err := os.Stat(name); err == nil {
			return filepath.EvalSymlinks(name)
		}
	}
	return "", fmt.Errorf("no list of certificate authorities on this %s machine: apt-get install ca-certificates", runtime.GOOS)
}
