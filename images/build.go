package images

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options of Build.
type Options struct {
	// Dir is the OCI image layout that gets the images; what others are in it stay. Layers that are there are not made
	// again.
	Dir string
	// Gzip takes gzip in place of Zstandard, which Docker before version 23 does not read.
	Gzip bool
	// Progress is called when a layer was made. If nil, nobody is told.
	Progress func(image string, l Layer)
}

// Image is an image that was built.
type Image struct {
	// OCI is the image itself; its layers are read from the layout.
	OCI v1.Image `json:"-"`
	// Name is the image's name without a registry: weir/imagenet.
	Name   string  `json:"name"`
	Digest v1.Hash `json:"digest"`
	Layers []Layer `json:"layers"`
}

// Layer says how large a layer is, in bytes.
type Layer struct {
	Name     string  `json:"name"`
	Digest   v1.Hash `json:"digest"`
	Packed   int64   `json:"packed"`
	Unpacked int64   `json:"unpacked"`
}

// Size is how much of a registry and of a network an image takes, and of a node's disk.
func (i Image) Size() (packed, unpacked int64) {
	for _, l := range i.Layers {
		packed += l.Packed
		unpacked += l.Unpacked
	}
	return packed, unpacked
}

// Build makes images and writes them to an OCI image layout.
func Build(ctx context.Context, specs []Spec, o Options) (built []Image, err error) {
	s, err := openStore(ctx, o.Dir, o.Gzip)
	if err != nil {
		return nil, fmt.Errorf("image folder %s: %w", o.Dir, err)
	}
	defer func() {
		if closeErr := s.close(); err == nil {
			err = closeErr
		}
	}()
	for _, spec := range specs {
		img, err := s.build(ctx, spec, o)
		if err != nil {
			return nil, fmt.Errorf("image %s%s: %w", Prefix, spec.Name, err)
		}
		built = append(built, img)
	}
	return built, s.sweep()
}

func (s *store) build(ctx context.Context, spec Spec, o Options) (Image, error) {
	img := Image{Name: Prefix + spec.Name}
	v, err := mutate.ConfigFile(
		mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), spec.config())
	if err != nil {
		return img, err
	}
	for _, ls := range spec.Layers {
		l, err := s.layer(ctx, ls.Files)
		if err != nil {
			return img, fmt.Errorf("layer %s: %w", ls.Name, err)
		}
		made := Layer{ls.Name, l.Sum, l.Packed, l.Unpacked}
		img.Layers = append(img.Layers, made)
		if o.Progress != nil {
			o.Progress(img.Name, made)
		}
		v, err = mutate.Append(v, mutate.Addendum{Layer: l, History: v1.History{Created: epoch, CreatedBy: ls.Name}})
		if err != nil {
			return img, err
		}
	}
	if img.Digest, err = v.Digest(); err != nil {
		return img, err
	}
	img.OCI = v
	return img, s.put(v, img.Name+":latest")
}

// epoch is when all was made: an image has no time of its own, so that the same inputs make the same digest.
var epoch = v1.Time{Time: time.Unix(0, 0).UTC()}

func (s Spec) config() *v1.ConfigFile {
	return &v1.ConfigFile{
		Architecture: s.Arch,
		OS:           "linux",
		Created:      epoch,
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{}},
		Config: v1.Config{
			User:         User,
			Entrypoint:   []string{s.Entrypoint},
			Env:          s.Env,
			WorkingDir:   "/",
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			Labels:       map[string]string{"org.opencontainers.image.title": Prefix + s.Name},
		},
	}
}
