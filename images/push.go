package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// PushOptions say where images go.
type PushOptions struct {
	// To is the registry and, after it, what stands before each image's name: ghcr.io/me, 10.0.0.1:5000.
	To string
	// Tag is given to the images. If empty, latest.
	Tag string
	// Insecure speaks plain HTTP to the registry. One at a loopback or private address is spoken to so anyway.
	Insecure bool
}

func (o PushOptions) reference(image string) (name.Tag, error) {
	var opts []name.Option
	if o.Insecure {
		opts = append(opts, name.Insecure)
	}
	tag := o.Tag
	if tag == "" {
		tag = name.DefaultTag
	}
	// Strict: a name without a registry would be Docker Hub's.
	return name.NewTag(strings.TrimSuffix(o.To, "/")+"/"+image+":"+tag, append(opts, name.StrictValidation)...)
}

// Push sends images to a registry with the credentials of the user's Docker or Podman settings; layers that it has are
// not sent again. It returns the images' addresses by digest and tells each to pushed as soon as it is there.
func Push(ctx context.Context, images []Image, o PushOptions, pushed func(address string)) ([]string, error) {
	pusher, err := remote.NewPusher(remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, img := range images {
		ref, err := o.reference(img.Name)
		if err != nil {
			return nil, fmt.Errorf("image address: %w", err)
		}
		if err := pusher.Push(ctx, ref, img.OCI); err != nil {
			return nil, fmt.Errorf("push %s: %w", ref, err)
		}
		address := ref.Context().Digest(img.Digest.String()).String()
		pushed(address)
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// Save writes images to an archive for docker load, ctr images import or kind load image-archive.
func Save(file string, images []Image) error {
	refs := make(map[name.Reference]v1.Image, len(images))
	for _, img := range images {
		ref, err := name.NewTag(img.Name)
		if err != nil {
			return err
		}
		refs[ref] = img.OCI
	}
	tmp := file + ".part"
	if err := tarball.MultiRefWriteToFile(tmp, refs); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", file, err), os.Remove(tmp))
	}
	return os.Rename(tmp, file)
}
