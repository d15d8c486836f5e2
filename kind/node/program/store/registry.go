// Package store is the node's registry: images in a folder, served and built.
package store

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Serve is a registry whose images outlive it. With -base it also has the images of that folder, which it
// does not change.
func Serve(args []string) error {
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	listen := flags.String("listen", "", "address to serve on")
	dir := flags.String("dir", "", "folder of what is pushed")
	base := flags.String("base", "", "folder of images that are there from the start")
	if err := flags.Parse(args); err != nil {
		return err
	}
	handler, err := openStore(*dir, *base)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: *listen, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// store keeps what go-containerregistry's registry keeps in memory, the manifests, on disk as well.
type store struct {
	next http.Handler
	dir  string
}

// openStore serves dir, and base beneath it if it is not empty.
func openStore(dir, base string) (http.Handler, error) {
	if err := os.MkdirAll(filepath.Join(dir, "manifests"), 0o755); err != nil {
		return nil, err
	}
	blobs := blobs{top: registry.NewDiskBlobHandler(dir).(diskBlobs)}
	roots := []string{dir}
	if base != "" {
		blobs.base = registry.NewDiskBlobHandler(base).(diskBlobs)
		roots = []string{base, dir}
	}
	quiet := log.New(io.Discard, "", 0)
	next := registry.New(registry.WithBlobHandler(blobs), registry.Logger(quiet))
	for _, root := range roots {
		if err := replay(next, filepath.Join(root, "manifests")); err != nil {
			return nil, fmt.Errorf("images of %s: %w", root, err)
		}
	}
	return &store{next: next, dir: dir}, nil
}

// replay puts the manifests of a folder into the registry: images before the indexes that name them.
func replay(next http.Handler, root string) error {
	var indexes, images []saved
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mediaType, body, ok := bytes.Cut(data, []byte("\n"))
		if !ok {
			return fmt.Errorf("%s is no manifest that this registry wrote", path)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		m := saved{filepath.ToSlash(rel), string(mediaType), body}
		if types.MediaType(mediaType).IsIndex() {
			indexes = append(indexes, m)
		} else {
			images = append(images, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range append(images, indexes...) {
		req := httptest.NewRequest(http.MethodPut, "/v2/"+m.path, bytes.NewReader(m.body))
		req.Header.Set("Content-Type", m.mediaType)
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		if answer.Code != http.StatusCreated {
			return fmt.Errorf("%s: %s", m.path, answer.Body)
		}
	}
	return nil
}

// saved is one manifest as it lies on disk: REPOSITORY/manifests/REFERENCE, its media type in the first line.
type saved struct {
	path, mediaType string
	body            []byte
}

// ServeHTTP writes a manifest to disk once the registry has taken it.
func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	repo, isManifest := manifestPath(r.URL.Path)
	if !isManifest || r.Method != http.MethodPut && r.Method != http.MethodDelete {
		s.next.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	s.next.ServeHTTP(answer, r)
	path := filepath.Join(s.dir, "manifests", filepath.FromSlash(repo))
	switch {
	case answer.Code == http.StatusCreated:
		err = writeFile(path, append([]byte(r.Header.Get("Content-Type")+"\n"), body...))
	case answer.Code == http.StatusAccepted && r.Method == http.MethodDelete:
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// manifestPath is the path below /v2/ if it is that of a manifest.
func manifestPath(path string) (string, bool) {
	rel, ok := strings.CutPrefix(path, "/v2/")
	elems := strings.Split(rel, "/")
	return rel, ok && len(elems) >= 3 && elems[len(elems)-2] == "manifests" && filepath.IsLocal(filepath.FromSlash(rel))
}

// writeFile replaces the file in one step: a registry that is killed leaves no half manifest.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// diskBlobs is what go-containerregistry's disk handler does.
type diskBlobs interface {
	registry.BlobHandler
	registry.BlobStatHandler
	registry.BlobPutHandler
	registry.BlobDeleteHandler
}

// blobs looks in top first and in base, if there is one, second; it writes to top only.
type blobs struct{ top, base diskBlobs }

func (b blobs) Stat(ctx context.Context, repo string, h v1.Hash) (int64, error) {
	size, err := b.top.Stat(ctx, repo, h)
	if err != nil && b.base != nil {
		return b.base.Stat(ctx, repo, h)
	}
	return size, err
}

func (b blobs) Get(ctx context.Context, repo string, h v1.Hash) (io.ReadCloser, error) {
	rc, err := b.top.Get(ctx, repo, h)
	if err != nil && b.base != nil {
		return b.base.Get(ctx, repo, h)
	}
	return rc, err
}

func (b blobs) Put(ctx context.Context, repo string, h v1.Hash, rc io.ReadCloser) error {
	return b.top.Put(ctx, repo, h, rc)
}

func (b blobs) Delete(ctx context.Context, repo string, h v1.Hash) error {
	return b.top.Delete(ctx, repo, h)
}
