package knative

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// Pin writes a kustomization to dir that stands on another one, base, with images by digest: addresses are those of
// weir's images, REGISTRY/…/weir/NAME@sha256:…, and each takes the place of the image weir/NAME of whichever registry
// base has. Images that base does not have are left out.
func Pin(dir, base string, addresses []string) error {
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), base)
	if err != nil {
		return fmt.Errorf("kustomization %s: %w", base, err)
	}
	k := types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
	for _, res := range made.Resources() {
		if res.GetGvk().Group != "serving.knative.dev" {
			continue
		}
		text, err := res.AsYAML()
		if err != nil {
			return err
		}
		services, err := Parse(base, text)
		if err != nil {
			return err
		}
		for _, c := range services[0].Spec.Template.Spec.Containers {
			pinned, err := pin(c.Image, addresses)
			if err != nil {
				return err
			}
			if pinned != nil && !slices.Contains(k.Images, *pinned) {
				k.Images = append(k.Images, *pinned)
			}
		}
	}
	if len(k.Images) == 0 {
		return fmt.Errorf("kustomization %s has none of the images %s", base, strings.Join(addresses, ", "))
	}
	if k.Resources, err = relative(dir, base); err != nil {
		return err
	}
	text, err := yaml.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	note := "# Written by weir image push.\n"
	return os.WriteFile(filepath.Join(dir, "kustomization.yaml"), append([]byte(note), text...), 0o644)
}

// pin finds the address that takes the place of an image; nil if there is none.
func pin(image string, addresses []string) (*types.Image, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", image, err)
	}
	for _, address := range addresses {
		digest, err := name.NewDigest(address)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", address, err)
		}
		if own(ref) == own(digest) {
			before, _, _ := strings.Cut(image, "@")
			before = strings.TrimSuffix(before, ":"+ref.Identifier())
			return &types.Image{Name: before, NewName: digest.Context().Name(), Digest: digest.DigestStr()}, nil
		}
	}
	return nil, nil
}

// own is the last two parts of an image's name, weir/NAME: what stands before is the registry's.
func own(ref name.Reference) string {
	parts := strings.Split(ref.Context().RepositoryStr(), "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/")
}

// relative is the path to base from dir, which is how kustomize wants it.
func relative(dir, base string) ([]string, error) {
	from, err := filepath.Abs(dir)
	to, err2 := filepath.Abs(base)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	path, err := filepath.Rel(from, to)
	return []string{path}, err
}
