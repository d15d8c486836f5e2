package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// flaky serves an archive and breaks connections off after some bytes. It notes the Range of each request.
type flaky struct {
	data    []byte
	version string // the ETag, if any
	chunk   int    // bytes before the connection breaks; 0 is all

	mu     sync.Mutex
	ranges []string
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ranges = append(f.ranges, r.Header.Get("Range"))
	if f.version != "" {
		w.Header().Set("ETag", f.version)
	}
	http.ServeContent(&breaking{ResponseWriter: w, left: f.chunk, all: f.chunk == 0}, r, "", time.Time{}, bytes.NewReader(f.data))
}

func (f *flaky) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.ranges)
}

type breaking struct {
	http.ResponseWriter
	left int
	all  bool
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.all {
		return b.ResponseWriter.Write(p)
	}
	n, _ := b.ResponseWriter.Write(p[:min(b.left, len(p))])
	if b.left -= n; b.left == 0 {
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func archive(t *testing.T) (data []byte, sum string) {
	t.Helper()
	data = tarGz(t, file{name: "saved_model.pb", content: strings.Repeat("a graph", 1000)}, file{name: "noise", content: fmt.Sprint(time.Now(), sha256.Sum256([]byte(t.Name())))})
	return data, fmt.Sprintf("%x", sha256.Sum256(data))
}

// TestResume goes on where the connection broke, as long as each one brings something.
func TestResume(t *testing.T) {
	t.Parallel()
	data, sum := archive(t)
	f := &flaky{data: data, version: `"1"`, chunk: len(data)/8 + 1}
	s := httptest.NewServer(f)
	defer s.Close()
	cache := t.TempDir()
	dir, err := Fetch(t.Context(), s.URL+"/m.tar.gz#sha256="+sum, Options{Cache: cache, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if got := contents(t, cache); !slices.Equal(got, []string{sum}) || dir != filepath.Join(cache, sum) {
		t.Errorf("the cache has %v, the model is in %s", got, dir)
	}
	got := f.seen()
	if len(got) != 8 || got[0] != "" || got[7] != fmt.Sprintf("bytes=%d-", 7*f.chunk) {
		t.Errorf("ranges %q, want 8 requests, each for the rest", got)
	}
}

// TestResumeLater keeps what arrived when a fetch is given up; the next one goes on there, unless the archive is another.
func TestResumeLater(t *testing.T) {
	t.Parallel()
	data, _ := archive(t)
	for _, c := range []struct {
		name, version, want string
	}{
		{"the same archive", `"1"`, "bytes=100-"},
		{"another archive", `"2"`, "bytes=100-"}, // asked for by If-Range: it is sent whole
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := &flaky{data: bytes.Repeat([]byte("x"), len(data)), version: `"1"`, chunk: 100}
			if c.version == f.version {
				f.data = data
			}
			s := httptest.NewServer(f)
			defer s.Close()
			cache := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			client := s.Client()
			client.Transport = cancelling{client.Transport, cancel}
			_, err := Fetch(ctx, s.URL+"/m.tar.gz", Options{Cache: cache, Client: client, Pause: time.Hour})
			if err == nil || len(contents(t, cache)) != 2 {
				t.Fatalf("error %v; the cache has %v, want the part and its version", err, contents(t, cache))
			}
			f.mu.Lock()
			f.chunk, f.version, f.data = 0, c.version, data
			f.mu.Unlock()
			if _, err := Fetch(t.Context(), s.URL+"/m.tar.gz", Options{Cache: cache}); err != nil {
				t.Fatal(err)
			}
			if got := f.seen(); got[len(got)-1] != c.want {
				t.Errorf("ranges %q, want the last one %q", got, c.want)
			}
		})
	}
}

// TestResumeWhole uses what had arrived whole when a process ended.
func TestResumeWhole(t *testing.T) {
	t.Parallel()
	data, sum := archive(t)
	s := httptest.NewServer(&flaky{data: data, version: `"1"`})
	defer s.Close()
	cache := t.TempDir()
	e := entry{cache: cache, key: sum}
	if err := errors.Join(os.WriteFile(e.file(".part"), data, 0o600), writeJSON(e.file(".part.json"), `"1"`)); err != nil {
		t.Fatal(err)
	}
	if _, err := Fetch(t.Context(), s.URL+"/m.tar.gz#sha256="+sum, Options{Cache: cache}); err != nil {
		t.Error(err)
	}
	if got := contents(t, cache); !slices.Equal(got, []string{sum}) {
		t.Errorf("the cache has %v", got)
	}
}

// cancelling cancels a context when the body of an answer has broken off.
type cancelling struct {
	http.RoundTripper
	cancel func()
}

func (c cancelling) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.RoundTripper.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
	if err == nil {
		resp.Body = body{resp.Body, c.cancel}
	}
	return resp, err
}

type body struct {
	b interface {
		Read([]byte) (int, error)
		Close() error
	}
	cancel func()
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.b.Read(p)
	if err != nil {
		b.cancel()
	}
	return n, err
}

func (b body) Close() error { return b.b.Close() }

// TestGivesUp ends after some tries that bring nothing, and leaves nothing behind.
func TestGivesUp(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	defer s.Close()
	cache := t.TempDir()
	_, err := Fetch(t.Context(), s.URL+"/m.tar", Options{Cache: cache, Pause: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "fetch broke off: the server answered 502") || asked.Load() != attempts {
		t.Errorf("error %v after %d requests, want %d", err, asked.Load(), attempts)
	}
	if left := contents(t, cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFetchOnce has many callers of one archive, which is fetched once; and again only when it has changed.
func TestFetchOnce(t *testing.T) {
	t.Parallel()
	data, sum := archive(t)
	for _, fragment := range []string{"", "#sha256=" + sum} {
		f := &flaky{data: data, version: `"1"`}
		var sent atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.ServeHTTP(counting{w, &sent}, r)
		}))
		cache := t.TempDir()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := Fetch(t.Context(), s.URL+"/m.tgz"+fragment, Options{Cache: cache}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if sent.Load() != 1 {
			t.Errorf("%q: sent %d times, want once", fragment, sent.Load())
		}
		if fragment == "" {
			f.mu.Lock()
			f.data, f.version = tarGz(t, file{name: "saved_model.pb", content: "another"}), `"2"`
			f.mu.Unlock()
			dir, err := Fetch(t.Context(), s.URL+"/m.tgz", Options{Cache: cache})
			if got, _ := os.ReadFile(filepath.Join(dir, "saved_model.pb")); err != nil || string(got) != "another" {
				t.Errorf("the changed archive gives %q, %v", got, err)
			}
		}
		s.Close()
	}
}

// counting counts the answers that have a body.
type counting struct {
	http.ResponseWriter
	sent *atomic.Int32
}

func (c counting) WriteHeader(status int) {
	if status != http.StatusNotModified {
		c.sent.Add(1)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c counting) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// TestFullDisk fetches and unpacks to a file system that is too small, in a process that may mount one.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	// The archive fits and its file does not; or not even the archive does.
	small := tarGz(t, file{name: "saved_model.pb", content: strings.Repeat("x", 1<<20)})
	large := bytes.Repeat([]byte("y"), 1<<20)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small.tar.gz" {
			_, _ = w.Write(small)
			return
		}
		_, _ = w.Write(large)
	}))
	defer s.Close()
	for _, name := range []string{"/small.tar.gz", "/large.tar"} {
		cache := t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `mount -t tmpfs -o size=256k tmpfs "$CACHE" && exec "$0"`, self)
		cmd.Env = append(os.Environ(), "SOURCE_TEST_FETCH="+s.URL+name, "CACHE="+cache)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if os.Geteuid() != 0 {
			cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "the cache's disk is full: make room") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if !strings.HasSuffix(string(out), "left: []\n") {
			t.Errorf("%s: %s", name, out)
		}
	}
}

// fullDisk is TestFullDisk's process.
func fullDisk(uri string) {
	cache := os.Getenv("CACHE")
	_, err := Fetch(context.Background(), uri, Options{Cache: cache})
	left, _ := filepath.Glob(filepath.Join(cache, "*"))
	hidden, _ := filepath.Glob(filepath.Join(cache, ".*"))
	left = slices.DeleteFunc(append(left, hidden...), func(s string) bool { return strings.HasSuffix(s, ".lock") })
	fmt.Printf("%v\nleft: %v\n", err, left)
}

// fakeFetch stands for weir-fetch: half of the bytes of an archive, then it fails; from there, the rest.
func fakeFetch(archive string, args []string) int {
	data, err := os.ReadFile(archive)
	if err != nil {
		return 1
	}
	address := args[len(args)-1]
	if strings.Contains(address, "absent") {
		fmt.Fprintln(os.Stderr, "no such object")
		return ExitRefused
	}
	if slices.Contains(args, "v1") && !slices.Contains(args, "0") {
		half := len(data) / 2
		fmt.Printf("{\"size\": %d, \"version\": \"v1\", \"from\": %d}\n%s", len(data), half, data[half:])
		return 0
	}
	fmt.Printf("{\"size\": %d, \"version\": \"v1\"}\n%s", len(data), data[:len(data)/2])
	fmt.Fprintln(os.Stderr, "the connection was reset")
	return 1
}

func TestMain(m *testing.M) {
	if uri := os.Getenv("SOURCE_TEST_FETCH"); uri != "" {
		fullDisk(uri)
		os.Exit(0)
	}
	if name := os.Getenv("SOURCE_TEST_BUCKET"); name != "" {
		os.Exit(fakeFetch(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestBucket has the program that reads buckets break off and go on, and refuse.
func TestBucket(t *testing.T) {
	data, sum := archive(t)
	name := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOURCE_TEST_BUCKET", name)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Cache: t.TempDir(), Program: self, Pause: time.Millisecond}
	for _, fragment := range []string{"#sha256=" + sum, ""} {
		if _, err := Fetch(t.Context(), "s3://models/m.tar.gz"+fragment, o); err != nil {
			t.Error(err)
		}
	}
	_, err = Fetch(t.Context(), "gs://models/absent.tar.gz", o)
	if err == nil || !strings.Contains(err.Error(), "gs://models/absent.tar.gz: fetch: no such object") || errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
	o.Program = "/no/such/program"
	if _, err = Fetch(t.Context(), "s3://models/other.tar.gz", o); err == nil {
		t.Error("a program that is not there is started")
	}
}
