package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"weir.dev/weir/internal/harness"
)

// TestModelInABucket serves a model from an S3 server: two revisions and their replicas have it from one fetch. A wrong
// digest is told and leaves nothing behind.
func TestModelInABucket(t *testing.T) {
	t.Parallel()
	archive := savedModelArchive(t, harness.Path("build/fixtures/half_plus_two/1"))
	backend := s3mem.New()
	if err := backend.CreateBucket("models"); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.PutObject("models", "half/1.tar.gz", nil, bytes.NewReader(archive), int64(len(archive)), nil); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int32
	s3 := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			sent.Add(1)
		}
		s3.ServeHTTP(w, r)
	}))
	defer server.Close()
	address := "s3://models/half/1.tar.gz?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
	pinned := fmt.Sprintf("%s#sha256=%x", address, sha256.Sum256(archive))

	w := ownWeir(t, harness.Quick...)
	cache := t.TempDir()
	deploy := []string{"--env", "WEIR_CACHE=" + cache, "--env", "AWS_ACCESS_KEY_ID=key", "--env", "AWS_SECRET_ACCESS_KEY=secret", "--min-scale", "2"}
	w.must(t, append([]string{"deploy", "half", "--model", pinned}, deploy...)...)
	w.must(t, append([]string{"deploy", "half", "--model", pinned, "--version", "2"}, deploy...)...)
	if out := w.must(t, "predict", "half", "--json", writeFile(t, `{"instances":[1.0]}`)); !strings.Contains(out, "2.5") {
		t.Errorf("half of 1 plus two is %s", out)
	}
	if sent.Load() != 1 {
		t.Errorf("the archive was sent %d times, want once", sent.Load())
	}

	before := cached(t, cache)
	_, errs, err := w.Run(t.Context(), append([]string{"deploy", "bad", "--model", address + "#sha256=" + strings.Repeat("ab", 32)}, deploy...)...)
	if err == nil || !strings.Contains(errs, "its digest is sha256=") {
		t.Errorf("a wrong digest: %v: %s", err, errs)
	}
	w.must(t, "delete", "bad")
	if after := cached(t, cache); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("left behind: the cache had %v, and has %v", before, after)
	}
}

// cached are the names in a cache of models, but for its locks.
func cached(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

func savedModelArchive(t *testing.T, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	if err := w.AddFS(os.DirFS(filepath.Clean(dir))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
