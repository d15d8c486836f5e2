package source

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type file struct {
	name, content string
	kind          byte
}

func tarGz(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, Typeflag: tar.TypeReg}
		if f.kind != 0 {
			h.Typeflag, h.Linkname, h.Size = f.kind, f.content, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(f.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		e, err := w.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// contents are the names in a cache, but for its locks.
func contents(t *testing.T, cache string) []string {
	t.Helper()
	entries, err := os.ReadDir(cache)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
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

func TestFetchArchive(t *testing.T) {
	good := []file{{name: "1/saved_model.pb", content: "graph"}, {name: "1/variables/index", content: "numbers"}}
	for name, data := range map[string][]byte{"m.tar.gz": tarGz(t, good...), "m.tgz": tarGz(t, good...), "m.zip": zipped(t, good...)} {
		t.Run(name, func(t *testing.T) {
			fetched := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fetched++
				_, _ = w.Write(data)
			}))
			defer s.Close()
			uri := fmt.Sprintf("%s/%s#sha256=%x", s.URL, name, sha256.Sum256(data))
			cache := t.TempDir()
			for range 2 {
				dir, err := Fetch(t.Context(), uri, Options{Cache: cache})
				if err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(filepath.Join(dir, "1", "variables", "index")); err != nil || string(got) != "numbers" {
					t.Errorf("file has %q (%v)", got, err)
				}
			}
			if fetched != 1 {
				t.Errorf("fetched %d times, want once", fetched)
			}
		})
	}
}

// TestFetchFile unpacks an archive on this machine once; a changed one is another model, but not where a digest is given.
func TestFetchFile(t *testing.T) {
	archive, cache := filepath.Join(t.TempDir(), "a model.tar.gz"), t.TempDir()
	write := func(graph string) {
		if err := os.WriteFile(archive, tarGz(t, file{name: "1/saved_model.pb", content: graph}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(uri, graph string) {
		t.Helper()
		dir, err := Fetch(t.Context(), uri, Options{Cache: cache})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "1", "saved_model.pb")); err != nil || string(got) != graph {
			t.Errorf("%s: the model is %q (%v), want %q", uri, got, err, graph)
		}
	}
	write("first")
	pinned, err := Pin(archive)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Pin(cache); err == nil {
		t.Error("a folder is pinned")
	}
	want(pinned, "first")
	want(archive, "first")
	write("and another")
	want(archive, "and another")
	want(archive, "and another")
	want(pinned, "first")
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	want(pinned, "first")
	if got := contents(t, cache); len(got) != 3 {
		t.Errorf("the cache has %q, want two models and what the path gave last", got)
	}
	if _, err := Fetch(t.Context(), archive, Options{Cache: cache}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent archive: %v", err)
	}
	// What the digest does not fit is not unpacked.
	write("third")
	if _, err := Fetch(t.Context(), pinned, Options{Cache: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not the model that was meant") {
		t.Errorf("another archive under a digest: %v", err)
	}
}

func TestFetchRefuses(t *testing.T) {
	good := tarGz(t, file{name: "saved_model.pb", content: strings.Repeat("graph", 10_000)})
	for _, c := range []struct {
		name, path string
		body       []byte
		says       string
	}{
		{"a climbing path", "/m.tar.gz", tarGz(t, file{name: "../evil", content: "x"}), "leads out of the archive"},
		{"an absolute path", "/m.tar.gz", tarGz(t, file{name: "/etc/evil", content: "x"}), "leads out of the archive"},
		{"a climbing path in a zip", "/m.zip", zipped(t, file{name: `..\evil`, content: "x"}), "leads out of the archive"},
		{"a link", "/m.tar.gz", tarGz(t, file{name: "link", content: "/etc", kind: tar.TypeSymlink}), "neither a file nor a folder"},
		{"a device", "/m.tar.gz", tarGz(t, file{name: "null", kind: tar.TypeChar}), "neither a file nor a folder"},
		{"a name given twice", "/m.tar.gz", tarGz(t, file{name: "a", content: "1"}, file{name: "a", content: "2"}), "exists"},
		{"a cut archive", "/m.tar.gz", good[:len(good)/2], "broken or cut short"},
		{"a cut zip", "/m.zip", zipped(t, file{name: "a", content: "1"})[:40], "broken or cut short"},
		{"no gzip", "/m.tar.gz", []byte("hello"), "not gzip"},
		{"an unknown format", "/m.rar", []byte("hello"), "expected .tar, .tar.gz, .tgz or .zip"},
		{"a wrong digest", "/m.tar.gz#sha256=" + strings.Repeat("ab", 32), good, "its digest is sha256="},
		{"a digest that is none", "/m.tar.gz#sha256=xyz", good, "expected #sha256="},
		{"an absent archive", "/absent.tar.gz", nil, "404"},
		{"too much inside", "/m.tar.gz", good, "more than the limit of 10000 bytes"},
		{"too large an archive", "/m.tar", bytes.Repeat([]byte("x"), 20_001), "over the limit of 20000 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.body == nil {
					http.NotFound(w, r)
					return
				}
				_, _ = w.Write(c.body)
			}))
			defer s.Close()
			cache := t.TempDir()
			_, err := Fetch(t.Context(), s.URL+c.path, Options{Cache: cache, MaxArchive: 20_000, MaxModel: 10_000})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q in it", err, c.says)
			}
			if left := contents(t, cache); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestFetchAddresses(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ uri, dir, says string }{
		{dir, dir, ""},
		{"file://" + dir, dir, ""},
		{name, "", "a file, expected the folder"},
		{dir + "/absent", "", "no such folder"},
		{"http://example.com/m.tar", "", "http is for this machine only"},
		{"ftp://example.com/m.tar", "", `"ftp" is not known here`},
		{"s3:///m.tar", "", "expected s3://BUCKET/ARCHIVE"},
		{"gs://bucket", "", "expected gs://BUCKET/ARCHIVE"},
	} {
		got, err := Fetch(t.Context(), c.uri, Options{Cache: t.TempDir()})
		if got != c.dir || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v; want %q, %q", c.uri, got, err, c.dir, c.says)
		}
	}
}
