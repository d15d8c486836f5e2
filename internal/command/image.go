package command

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"weir.dev/weir/functions/source"
	"weir.dev/weir/images"
	"weir.dev/weir/knative"
)

// imageOptions are the flags of weir image.
type imageOptions struct {
	root, dir, tar, model string
	version               int64
	gzip                  bool
	push                  images.PushOptions
	kustomize, overlay    string
	output                output
}

func (e *env) image() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make container images of the router and the models, without Docker",
		Example: `  weir image build
  weir image push --to 10.0.0.1:5000`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(e.imageBuild(), e.imagePush())
	return cmd
}

const imageLong = `

An image has the program, what it is linked to, and a layer for each version of its model at /models/NAME/VERSION: all from
the outputs of make build. Without NAME all images are made: router, the sample functions, and savedmodel, which is the
function for any SavedModel without one. With --model, NAME is an image of that function with that model.`

func (e *env) imageBuild() *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use:   "build [NAME…]",
		Short: "Write images to an OCI image layout, and to an archive if asked",
		Long:  "Write images to an OCI image layout, and to an archive if asked." + imageLong,
		Example: `  weir image build
  weir image build imagenet --gzip --tar imagenet.tar     # then: docker load -i imagenet.tar
  weir image build half --model ./models/half_plus_two/1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkNames(cmd, args, o); err != nil {
				return err
			}
			built, err := e.buildImages(cmd.Context(), args, o)
			if err != nil {
				return err
			}
			if o.tar != "" {
				if err := images.Save(o.tar, built); err != nil {
					return err
				}
			}
			return e.printImages(built, o)
		},
	}
	e.imageFlags(cmd, &o)
	cmd.Flags().StringVar(&o.tar, "tar", "", "archive to write too, for docker load, ctr images import or kind load image-archive")
	return cmd
}

func (e *env) imagePush() *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use:   "push [NAME…] --to REGISTRY",
		Short: "Build images and send them to a registry; prints their addresses by digest",
		Long: "Build images and send them to a registry; prints their addresses by digest. The credentials are those of docker login\n" +
			"or podman login. A registry at a loopback or private address is spoken to over plain HTTP." + imageLong,
		Example: `  weir image push --to 10.0.0.1:5000
  weir image push imagenet --to ghcr.io/me --tag v1
  weir image push --to 10.0.0.1:5000 --kustomize build/deploy && kubectl apply -k build/deploy`,
	}
	e.imageFlags(cmd, &o)
	f := cmd.Flags()
	f.StringVar(&o.push.To, "to", "", "registry, and what stands before the images' names: ghcr.io/me makes ghcr.io/me/weir/imagenet")
	f.StringVar(&o.push.Tag, "tag", name.DefaultTag, "tag of the images")
	f.BoolVar(&o.push.Insecure, "insecure", false, "speak plain HTTP to the registry")
	f.StringVar(&o.kustomize, "kustomize", "", "folder to write a kustomization to that has these images, by digest, over --overlay")
	f.StringVar(&o.overlay, "overlay", "", "the overlay that --kustomize stands on (default: knative/overlays/kind of the checkout)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.push.To == "" {
			return usagef(cmd, "--to is missing: the registry, such as 10.0.0.1:5000 or ghcr.io/me")
		}
		if err := checkNames(cmd, args, o); err != nil {
			return err
		}
		return e.runImagePush(cmd.Context(), args, o)
	}
	return cmd
}

func (e *env) imageFlags(cmd *cobra.Command, o *imageOptions) {
	f := cmd.Flags()
	f.StringVar(&o.root, "root", "", "checkout with the outputs of make build (default: that of this program)")
	f.StringVar(&o.dir, "dir", "", "OCI image layout to write to, which keeps layers for the next time (default: build/images of the checkout)")
	f.StringVar(&o.model, "model", "", "folder or address of a SavedModel, for an image of any NAME")
	f.Int64Var(&o.version, "version", 0, "the version of --model (default: its folder's number, or 1)")
	f.BoolVar(&o.gzip, "gzip", false, "compress with gzip, not Zstandard: larger and slower, but Docker before 23 reads it")
	outputFlag(cmd, &o.output, outputTable, outputJSON)
}

// checkNames wants one NAME for --model.
func checkNames(cmd *cobra.Command, names []string, o imageOptions) error {
	if o.model != "" && len(names) != 1 {
		return usagef(cmd, "--model is for one image: give one NAME, not %d", len(names))
	}
	return nil
}

func (e *env) runImagePush(ctx context.Context, names []string, o imageOptions) error {
	built, err := e.buildImages(ctx, names, o)
	if err != nil {
		return err
	}
	addresses, err := images.Push(ctx, built, o.push, func(address string) { fmt.Fprintln(e.out, address) })
	if err != nil || o.kustomize == "" {
		return err
	}
	if o.overlay == "" {
		root, err := checkout(o.root)
		if err != nil {
			return err
		}
		o.overlay = filepath.Join(root, "knative", "overlays", "kind")
	}
	return knative.Pin(o.kustomize, o.overlay, addresses)
}

// buildImages makes the images of these names, or all.
func (e *env) buildImages(ctx context.Context, names []string, o imageOptions) ([]images.Image, error) {
	root, err := checkout(o.root)
	if err != nil {
		return nil, err
	}
	if o.dir == "" {
		o.dir = filepath.Join(root, "build", "images")
	}
	specs, err := e.imageSpecs(ctx, root, names, o)
	if err != nil {
		return nil, err
	}
	return images.Build(ctx, specs, images.Options{Dir: o.dir, Gzip: o.gzip, Progress: func(image string, l images.Layer) {
		fmt.Fprintf(e.err, "%s: %s, %s\n", image, l.Name, megabytes(l.Packed))
	}})
}

func (e *env) imageSpecs(ctx context.Context, root string, names []string, o imageOptions) (specs []images.Spec, err error) {
	if o.model != "" {
		dir, err := source.Fetch(ctx, o.model, source.Options{Log: zerolog.New(zerolog.ConsoleWriter{Out: e.err, TimeFormat: time.TimeOnly})})
		if err != nil {
			return nil, err
		}
		spec, err := images.OfModel(root, names[0], dir, modelVersion(o))
		return []images.Spec{spec}, err
	}
	if len(names) == 0 {
		if names, err = images.Names(root); err != nil {
			return nil, err
		}
	}
	for _, n := range names {
		spec, err := images.Of(root, n)
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// modelVersion is the number of --model's version.
func modelVersion(o imageOptions) string {
	base := filepath.Base(o.model)
	if n, err := strconv.ParseInt(base, 10, 64); err == nil && n > 0 && o.version == 0 {
		return base
	}
	return strconv.FormatInt(max(o.version, 1), 10)
}

// checkout is the folder that has bin and build: that of this program, if none is given.
func checkout(root string) (string, error) {
	if root != "" {
		return root, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Dir(filepath.Dir(self)), nil
}

func (e *env) printImages(built []images.Image, o imageOptions) error {
	if o.output == outputJSON {
		return printJSON(e.out, built)
	}
	rows := [][]string{{"IMAGE", "DIGEST", "SIZE", "UNPACKED", "LAYERS"}}
	for _, img := range built {
		packed, unpacked := img.Size()
		var layers []string
		for _, l := range img.Layers {
			layers = append(layers, l.Name+" "+megabytes(l.Packed))
		}
		rows = append(rows, []string{img.Name, img.Digest.String(), megabytes(packed), megabytes(unpacked), strings.Join(layers, ", ")})
	}
	return table(e.out, rows)
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
