package images

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"weir.dev/weir/internal/lock"
)

// store is an OCI image layout that makes a layer only once: what a layer was made of leads to its blob.
type store struct {
	dir    string
	layout layout.Path
	gzip   bool
	unlock func() error
	sums   map[string][]byte // of files that were read before: most images have TensorFlow in them
}

// openStore opens the layout in a folder, makes one if there is none, and keeps other processes out until it is closed.
func openStore(ctx context.Context, dir string, gzip bool) (*store, error) {
	s := &store{dir: dir, gzip: gzip, sums: make(map[string][]byte)}
	if err := os.MkdirAll(filepath.Join(dir, "made"), 0o755); err != nil {
		return nil, err
	}
	var err error
	if s.unlock, err = lock.File(ctx, filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	if s.layout, err = layout.FromPath(dir); errors.Is(err, fs.ErrNotExist) {
		s.layout, err = layout.Write(dir, empty.Index)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755)
	}
	if err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	return s, nil
}

func (s *store) close() error { return s.unlock() }

// layer makes a layer of files, or finds the one that was made of the same files before.
func (s *store) layer(ctx context.Context, files []File) (*layer, error) {
	key, err := s.key(files)
	if err != nil {
		return nil, err
	}
	made := filepath.Join(s.dir, "made", key+".json")
	if l, err := s.made(made); err == nil {
		return l, nil
	}
	l, err := s.make(ctx, files)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	return l, os.WriteFile(made, text, 0o644)
}

// key names what a layer is made of.
func (s *store) key(files []File) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "1 %v\n", s.mediaType())
	for _, f := range files {
		content, err := s.sum(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%q %v %v %x\n", f.Path, f.Mode, f.Strip, content)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// sum is the SHA-256 of a file's content, before it is stripped.
func (s *store) sum(f File) ([]byte, error) {
	if sum, ok := s.sums[f.Source]; ok && f.Source != "" {
		return sum, nil
	}
	r, _, err := f.open()
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	_, err = io.Copy(hash, r)
	s.sums[f.Source] = hash.Sum(nil)
	return s.sums[f.Source], errors.Join(err, r.Close())
}

// made reads what is known of a layer and checks that its blob is there, whole.
func (s *store) made(name string) (*layer, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	l := &layer{store: s}
	if err := json.Unmarshal(text, l); err != nil {
		return nil, err
	}
	info, err := os.Stat(l.blob())
	if err != nil {
		return nil, err
	}
	if info.Size() != l.Packed {
		return nil, fmt.Errorf("%s has %d bytes, not %d", l.blob(), info.Size(), l.Packed)
	}
	return l, nil
}

// make writes a layer's blob, under a temporary name until it is whole.
func (s *store) make(ctx context.Context, files []File) (l *layer, err error) {
	tmp, err := os.MkdirTemp(s.dir, ".layer-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if files, err = strip(ctx, files, tmp); err != nil {
		return nil, err
	}
	blob, err := os.Create(filepath.Join(tmp, "blob"))
	if err != nil {
		return nil, err
	}
	packed, unpacked := newCounter(), newCounter()
	compress, err := s.compressor(io.MultiWriter(blob, packed))
	if err == nil {
		err = writeTar(io.MultiWriter(compress, unpacked), files)
		err = errors.Join(err, compress.Close())
	}
	if err := errors.Join(err, blob.Close()); err != nil {
		return nil, err
	}
	l = &layer{store: s, Sum: packed.sum(), TarSum: unpacked.sum(), Packed: packed.n, Unpacked: unpacked.n, Type: s.mediaType()}
	return l, os.Rename(blob.Name(), l.blob())
}

func (s *store) mediaType() types.MediaType {
	if s.gzip {
		return types.OCILayer
	}
	return types.OCILayerZStd
}

// compressor gives the same bytes on every machine: how many goroutines work is fixed.
func (s *store) compressor(w io.Writer) (io.WriteCloser, error) {
	if s.gzip {
		return gzip.NewWriter(w), nil
	}
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(2))
}

// put writes an image to the layout, in place of the one that had its name.
func (s *store) put(img v1.Image, name string) error {
	return s.layout.ReplaceImage(img, match.Name(name), layout.WithAnnotations(map[string]string{refName: name}))
}

// refName is the OCI annotation that names an image of a layout.
const refName = "org.opencontainers.image.ref.name"

// sweep removes the blobs that no image needs any more, and what is known of them.
func (s *store) sweep() error {
	unused, err := s.layout.GarbageCollect()
	for _, h := range unused {
		err = errors.Join(err, s.layout.RemoveBlob(h))
	}
	known, _ := filepath.Glob(filepath.Join(s.dir, "made", "*.json")) // the pattern is right
	for _, name := range known {
		if _, gone := s.made(name); gone != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}
	return err
}

// strip writes those files that are to be stripped to dir and returns the files with these in place.
func strip(ctx context.Context, files []File, dir string) ([]File, error) {
	var stripped []File
	for i, f := range files {
		if f.Strip {
			to := filepath.Join(dir, fmt.Sprintf("stripped-%d", i))
			if err := stripFile(ctx, f.Source, to); err != nil {
				return nil, err
			}
			f.Source = to
		}
		stripped = append(stripped, f)
	}
	return stripped, nil
}

// stripFile takes out the symbols that only a linker or a debugger needs. Go's stack traces stay readable.
func stripFile(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "strip", "--strip-unneeded", "-o", to, from).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("the program strip is missing: apt-get install binutils")
	}
	if err != nil {
		return fmt.Errorf("strip %s: %w: %s", from, err, out)
	}
	return nil
}

// counter counts and sums up what is written to it.
type counter struct {
	hash.Hash
	n int64
}

func newCounter() *counter { return &counter{Hash: sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}

func (c *counter) sum() v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(c.Sum(nil))}
}

// layer is a layer whose blob is in the store; it is a v1.Layer.
type layer struct {
	store *store

	Sum, TarSum      v1.Hash
	Packed, Unpacked int64
	Type             types.MediaType
}

func (l *layer) blob() string { return filepath.Join(l.store.dir, "blobs", l.Sum.Algorithm, l.Sum.Hex) }

func (l *layer) Digest() (v1.Hash, error)            { return l.Sum, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.TarSum, nil }
func (l *layer) Size() (int64, error)                { return l.Packed, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.Type, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { return os.Open(l.blob()) }

// Uncompressed returns the layer's archive.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	blob, err := os.Open(l.blob())
	if err != nil {
		return nil, err
	}
	var r io.Reader
	if l.Type == types.OCILayer {
		r, err = gzip.NewReader(blob)
	} else {
		r, err = zstd.NewReader(blob)
	}
	if err != nil {
		return nil, errors.Join(err, blob.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{r, blob}, nil
}
