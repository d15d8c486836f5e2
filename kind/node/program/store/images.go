package store

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// image is what one image holds: it is read as JSON.
type image struct {
	Name       string            `json:"name"`
	User       string            `json:"user"`
	Entrypoint []string          `json:"entrypoint"`
	Files      map[string]string `json:"files"` // path in the image: file on this machine
}

// Build builds the images of the JSON list on standard input into a folder that the registry serves, and prints
// their digests by name. The same files give the same digests.
func Build(args []string) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder for the images")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var list []image
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return fmt.Errorf("standard input is no list of images: %w", err)
	}
	handler, err := openStore(*dir, "")
	if err != nil {
		return err
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	digests := map[string]string{}
	for _, spec := range list {
		img, err := spec.build()
		if err != nil {
			return fmt.Errorf("image %s: %w", spec.Name, err)
		}
		ref, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/" + spec.Name)
		if err != nil {
			return err
		}
		if err := remote.Write(ref, img); err != nil {
			return fmt.Errorf("image %s: %w", spec.Name, err)
		}
		digest, err := img.Digest()
		if err != nil {
			return err
		}
		digests[spec.Name] = digest.String()
	}
	return json.NewEncoder(os.Stdout).Encode(digests)
}

// build makes the image of one layer. The layer stays uncompressed: it never leaves this machine.
func (i image) build() (v1.Image, error) {
	layer, err := i.layer()
	if err != nil {
		return nil, err
	}
	base := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	base = mutate.ConfigMediaType(base, types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{Layer: static.NewLayer(layer, types.OCIUncompressedLayer)})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config = v1.Config{User: i.User, Entrypoint: i.Entrypoint, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, WorkingDir: "/"}
	return mutate.ConfigFile(img, config)
}

// layer is the tar of the files, with their folders, /tmp and the two users that the images run as.
func (i image) layer() ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{".": true}
	var folder func(string, int64) error
	folder = func(dir string, mode int64) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := folder(path.Dir(dir), 0o755); err != nil {
			return err
		}
		return w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: mode, ModTime: time.Unix(0, 0)})
	}
	add := func(to string, mode int64, size int64, r io.Reader) error {
		to = strings.TrimPrefix(path.Clean(to), "/")
		if err := folder(path.Dir(to), 0o755); err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: to, Typeflag: tar.TypeReg, Mode: mode, Size: size, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		_, err := io.Copy(w, r)
		return err
	}
	users := "root:x:0:0::/:\nnobody:x:65534:65534::/:\nnonroot:x:65532:65532::/:\n"
	if err := add("etc/passwd", 0o644, int64(len(users)), strings.NewReader(users)); err != nil {
		return nil, err
	}
	if err := folder("tmp", 0o1777); err != nil {
		return nil, err
	}
	for _, to := range slices.Sorted(maps.Keys(i.Files)) {
		if err := addFile(i.Files[to], func(info os.FileInfo, r io.Reader) error {
			return add(to, int64(info.Mode().Perm()), info.Size(), r)
		}); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func addFile(from string, add func(os.FileInfo, io.Reader) error) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return add(info, f)
}
