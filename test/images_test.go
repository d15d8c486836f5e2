package test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	oci "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"weir.dev/weir/images"
	"weir.dev/weir/internal/harness"
)

// imageBuild calls weir image build and returns what it says.
func imageBuild(t *testing.T, dir string, names ...string) map[string]images.Image {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Path("bin/weir"), append([]string{"image", "build", "-o", "json", "--dir", dir}, names...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &errs)
	}
	var built []images.Image
	if err := json.Unmarshal(out, &built); err != nil {
		t.Fatal(err)
	}
	byName := map[string]images.Image{}
	for _, img := range built {
		packed, unpacked := img.Size()
		t.Logf("%s: %.1f MB, %.1f MB unpacked", img.Name, float64(packed)/1e6, float64(unpacked)/1e6)
		byName[img.Name] = img
	}
	return byName
}

// TestImages builds images twice, in the usual folder and in one that knows nothing of it, and runs them as a cluster would: from
// their layers alone, not as root, with a root file system that cannot be written.
func TestImages(t *testing.T) {
	t.Parallel()
	first, second := harness.Path("build/images"), t.TempDir()
	built := imageBuild(t, first, "imagenet", "router")
	for name, img := range imageBuild(t, second, "imagenet", "router") {
		if img.Digest != built[name].Digest {
			t.Errorf("%s is %s and %s: not reproducible", name, built[name].Digest, img.Digest)
		}
	}
	t.Run("imagenet", func(t *testing.T) {
		t.Parallel()
		address := freeAddress(t)
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		c := unpack(t, first, built["weir/imagenet"].Digest)
		cmd := c.command(t, "--model", "/models/imagenet/2", "--port", port)
		var log bytes.Buffer
		cmd.Stderr = &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
				t.Errorf("the container's end: %v\n%s", err, &log)
			}
		}()
		await(t, time.Minute, "the container is ready", func() bool {
			resp, err := http.Get("http://" + address + "/readyz")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
		got := predictPhoto(t, address, "coffee.png")
		if !strings.Contains(string(got.body), "espresso") {
			t.Errorf("prediction %d %s", got.status, got.body)
		}
	})
	t.Run("router", func(t *testing.T) {
		t.Parallel()
		cmd := unpack(t, second, built["weir/router"].Digest).command(t, "--help")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Usage:") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

func predictPhoto(t *testing.T, address, photo string) answer {
	t.Helper()
	image, err := os.ReadFile(harness.Path("build/samples", photo))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/models/imagenet:predict", bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "image/png")
	return do(t, req)
}

// container is an image that is unpacked to a folder.
type container struct {
	root   string
	config oci.Config
}

// unpack lays an image's layers one over the other.
func unpack(t *testing.T, dir string, digest oci.Hash) container {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	img, err := index.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := container{t.TempDir(), config.Config}
	// What a container runtime mounts over.
	for _, mount := range []string{"", "proc", "dev"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(c.root, mount), 0o755), os.Chmod(filepath.Join(c.root, mount), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	files := mutate.Extract(img)
	defer files.Close()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c
		}
		if err == nil {
			err = unpackFile(filepath.Join(c.root, h.Name), h, r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// unpackFile does without the order of folders and files, which mutate.Extract changes.
func unpackFile(name string, h *tar.Header, r io.Reader) error {
	mode := fs.FileMode(h.Mode) & fs.ModePerm
	if h.Typeflag == tar.TypeDir {
		return errors.Join(os.MkdirAll(name, 0o755), os.Chmod(name, mode))
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// command is the container's program in namespaces of its own. Without root's rights, the test's user is who it runs
// as; a namespace of users then lends the right to mount.
func (c container) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	script := `mount --make-rprivate / && mount --bind "$ROOT" "$ROOT" && mount -t proc proc "$ROOT/proc" &&
		mount --rbind /dev "$ROOT/dev" && mount -o remount,bind,ro "$ROOT" && ! touch "$ROOT/written" 2>/dev/null &&
		exec env -i %s chroot %s "$ROOT" "$@"`
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID}
	user := "--userspec=" + c.config.User
	if os.Geteuid() != 0 {
		user = ""
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	// chroot itself is found by its own machine's path.
	env := append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, c.config.Env[1:]...)
	for i, e := range env {
		env[i] = "'" + e + "'"
	}
	words := append([]string{"-c", fmt.Sprintf(script, strings.Join(env, " "), user), "sh"}, append(c.config.Entrypoint, args...)...)
	cmd := exec.CommandContext(t.Context(), "sh", words...)
	cmd.Env = append(os.Environ(), "ROOT="+c.root)
	cmd.SysProcAttr = attr
	return cmd
}

// TestKustomize starts weir with an overlay and asks one of its models.
func TestKustomize(t *testing.T) {
	t.Parallel()
	w := ownWeir(t, "-k", harness.Path("knative/overlays/local"))
	status := w.must(t, "status")
	for _, name := range []string{"digits", "embed", "imagenet-lite0", "router"} {
		if !strings.Contains(status, name) {
			t.Errorf("no %s:\n%s", name, status)
		}
	}
	if out := w.must(t, "predict", "imagenet", "--image", harness.Path("build/samples/coffee.png")); !strings.Contains(out, "espresso") {
		t.Errorf("prediction %s", out)
	}
}
