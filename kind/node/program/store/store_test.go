package store

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// serve opens a store and serves it until the test, or the returned function, ends it.
func serve(t *testing.T, dir, base string) (host string, stop func()) {
	t.Helper()
	handler, err := openStore(dir, base)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), server.Close
}

func reference(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func pull(t *testing.T, ref string) (v1.Hash, error) {
	t.Helper()
	img, err := remote.Image(reference(t, ref))
	if err != nil {
		return v1.Hash{}, err
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return v1.Hash{}, err
		}
		rc.Close()
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest, nil
}

// What was pushed is there after a restart, by tag and by digest, also when it is an index; what was deleted is not.
func TestImagesOutliveTheRegistry(t *testing.T) {
	dir := t.TempDir()
	host, stop := serve(t, dir, "")
	img, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(1000, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"/a/b/image:v1", "/a/b/image:gone"} {
		if err := remote.Write(reference(t, host+tag), img); err != nil {
			t.Fatal(err)
		}
	}
	if err := remote.WriteIndex(reference(t, host+"/index:v1"), index); err != nil {
		t.Fatal(err)
	}
	if err := remote.Delete(reference(t, host+"/a/b/image:gone")); err != nil {
		t.Fatal(err)
	}
	stop()

	host, _ = serve(t, dir, "")
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"/a/b/image:v1", "/a/b/image@" + want.String()} {
		if got, err := pull(t, host+ref); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", ref, got, err, want)
		}
	}
	if _, err := remote.Index(reference(t, host+"/index:v1")); err != nil {
		t.Error("the index:", err)
	}
	if _, err := pull(t, host+"/a/b/image:gone"); err == nil {
		t.Error("a deleted tag came back")
	}
}

// The images of the base folder are there, and nothing is written to it.
func TestBaseIsReadOnly(t *testing.T) {
	base, dir := t.TempDir(), t.TempDir()
	host, stop := serve(t, base, "")
	img, err := random.Image(1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference(t, host+"/there:v1"), img); err != nil {
		t.Fatal(err)
	}
	stop()
	before := files(t, base)

	host, _ = serve(t, dir, base)
	if _, err := pull(t, host+"/there:v1"); err != nil {
		t.Error(err)
	}
	if err := remote.Write(reference(t, host+"/new:v1"), img); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, host+"/new:v1"); err != nil {
		t.Error(err)
	}
	if after := files(t, base); after != before {
		t.Errorf("the base has changed from\n%s to\n%s", before, after)
	}
}

func files(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		all.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// The same files give the same digest, whatever their folder and their times are.
func TestBuildIsReproducible(t *testing.T) {
	var digests [2]string
	for i := range digests {
		file := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(file, []byte("#!/bin/true\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		spec := image{Name: "x", User: "65532", Entrypoint: []string{"/app/x"}, Files: map[string]string{"/app/x": file, "/a": file}}
		img, err := spec.build()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[i] = digest.String()
		if i == 0 {
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := json.Marshal(config.Config); !bytes.Contains(got, []byte(`"User":"65532"`)) {
				t.Errorf("config %s", got)
			}
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds of the same files: %s and %s", digests[0], digests[1])
	}
}
