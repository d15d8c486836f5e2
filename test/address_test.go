package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
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
	w := changeableWeir(t)
	ln, err := w.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: ln, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			sent.Add(1)
		}
		s3.ServeHTTP(w, r)
	})}}
	server.Start()
	defer server.Close()
	address := "s3://models/half/1.tar.gz?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(server.URL)
	pinned := fmt.Sprintf("%s#sha256=%x", address, sha256.Sum256(archive))

	cache, shared := sharedCache(t, w)
	deploy := slices.Concat(shared, []string{"--env", "AWS_ACCESS_KEY_ID=key", "--env", "AWS_SECRET_ACCESS_KEY=secret", "--min-scale", "2"})
	w.deploy(t, "fetched", append([]string{"--model", pinned}, deploy...)...)
	w.must(t, append([]string{"deploy", "fetched", "--model", pinned, "--version", "2"}, deploy...)...)
	if out := w.must(t, "predict", "fetched", "--json", writeFile(t, `{"instances":[1.0]}`)); !strings.Contains(out, "2.5") {
		t.Errorf("half of 1 plus two is %s", out)
	}
	if sent.Load() != 1 {
		t.Errorf("the archive was sent %d times, want once", sent.Load())
	}

	before := cached(t, cache)
	if len(before) != 1 {
		t.Errorf("the cache has %v, want the one model", before)
	}
	_, errs, err := w.Run(t.Context(), append([]string{"deploy", "not-meant", "--model", address + "#sha256=" + strings.Repeat("ab", 32)}, deploy...)...)
	if err == nil || !strings.Contains(errs, "its digest is sha256=") {
		t.Errorf("a wrong digest: %v: %s", err, errs)
	}
	w.must(t, "delete", "not-meant")
	if after := cached(t, cache); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("left behind: the cache had %v, and has %v", before, after)
	}
}

// sharedCache makes a cache of models for one test: a folder, or on a cluster the volume of a claim. It returns its
// folder on this machine and deploy's arguments that name it.
func sharedCache(t *testing.T, w *weir) (folder string, deploy []string) {
	t.Helper()
	if !harness.OnCluster() {
		folder = t.TempDir()
		return folder, []string{"--env", "WEIR_CACHE=" + folder}
	}
	if _, err := w.Kubectl(t.Context(), "apply", "-f", harness.Path("knative/components/model-cache/claim.yaml")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := w.Kubectl(context.Background(), "delete", "pvc", "weir-models", "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	if _, err := w.Kubectl(t.Context(), "wait", "pvc/weir-models", "--for", "jsonpath={.status.phase}=Bound", "--timeout", "60s"); err != nil {
		t.Fatal(err)
	}
	volume, err := w.Kubectl(t.Context(), "get", "pvc", "weir-models", "-o", "jsonpath={.spec.volumeName}")
	if err != nil {
		t.Fatal(err)
	}
	// The node's folders are this machine's.
	folder, err = w.Kubectl(t.Context(), "get", "pv", volume, "-o", "jsonpath={.spec.hostPath.path}")
	if err != nil {
		t.Fatal(err)
	}
	return folder, []string{"--image", registry("savedmodel"), "--cache-claim", "weir-models"}
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
