//go:build docker

package docker

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/internal/lock"
)

// bridge is the engine's address on the network of containers that are built.
const bridge = "172.17.0.1"

// firstProcess gives the engine folders of its own and becomes it. dockerd writes to /run and /etc.
const firstProcess = `
mount --make-rprivate /
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/etc /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work overlay /etc
exec dockerd --host "unix://$1" --data-root "$2" --cgroup-parent "/$3" --exec-root /run/docker --pidfile /run/docker.pid \
  --bip ` + bridge + `/16 --storage-driver overlay2
`

// engine is a Docker engine in network, mount and process namespaces of its own, with no way out of its network. What it
// built stays in build/docker for the next run.
type engine struct {
	*testing.T
	ctx    context.Context // ends with Ctrl-C, too
	socket string
	cmd    *exec.Cmd
	log    *os.File
}

func folder(elem ...string) string {
	return harness.Path(append([]string{"build", "docker"}, elem...)...)
}

// cgroup is the name of the group that the groups of containers are in, here and in no other checkout.
func cgroup() string {
	return fmt.Sprintf("weir-docker-%08x", crc32.ChecksumIEEE([]byte(harness.Root)))
}

// startEngine starts an engine that ends with the test.
func startEngine(ctx context.Context, t *testing.T) *engine {
	unlock, err := lock.File(ctx, folder("lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unlock() })
	log, err := os.Create(folder("dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	e := &engine{T: t, ctx: ctx, log: log, socket: filepath.Join(t.TempDir(), "docker.sock")}
	e.removeCgroups() // of a run that was killed
	e.cmd = exec.Command("sh", "-ec", firstProcess, "sh", e.socket, folder("data"), cgroup())
	e.cmd.Env, e.cmd.Stdout, e.cmd.Stderr = e.env(), log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		// If the test dies, the kernel ends the engine and all in its namespaces.
		Pdeathsig: syscall.SIGKILL,
		Setsid:    true,
	}
	runtime.LockOSThread() // that signal comes when the thread ends
	if err := e.cmd.Start(); err != nil {
		t.Fatalf("an engine in namespaces of its own (root is needed): %v", err)
	}
	t.Cleanup(e.stop)
	e.inside(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	e.waitUp()
	return e
}

// waitUp waits until the engine answers.
func (e *engine) waitUp() {
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for e.docker("version") != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			said, _ := os.ReadFile(e.log.Name())
			e.Fatalf("the engine does not start: %v\n%s", ctx.Err(), said)
		}
	}
}

// stop lets the engine write what it knows, and ends it and all that it started.
func (e *engine) stop() {
	ended := make(chan error, 1)
	go func() { ended <- e.cmd.Wait() }()
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = e.cmd.Process.Kill()
		<-ended
	}
	e.removeCgroups()
}

// cgroups are the engine's groups, the deepest first.
func (e *engine) cgroups() []string {
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		tops, _ := filepath.Glob(pattern + cgroup())
		for _, top := range tops {
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					all = append(all, path)
				}
				return nil
			})
		}
	}
	slices.Reverse(all)
	return all
}

// removeCgroups is for after the engine's end: it removes no group of its own.
func (e *engine) removeCgroups() {
	for _, dir := range e.cgroups() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.Error(err)
		}
	}
}

// env is the environment of Docker's programs.
func (e *engine) env() []string {
	return append(os.Environ(), "DOCKER_HOST=unix://"+e.socket, "DOCKER_CONFIG="+folder("client"),
		"PATH="+strings.Join([]string{folder("engine/usr/bin"), folder("engine/usr/sbin"), os.Getenv("PATH"), "/usr/sbin", "/sbin"}, ":"))
}

// docker runs the client and drops what it says.
func (e *engine) docker(args ...string) error {
	cmd := exec.CommandContext(e.ctx, folder("engine/usr/bin/docker"), args...)
	cmd.Env = e.env()
	return cmd.Run()
}

// shell runs a script in the checkout as a user of the engine's machine would, and returns what it prints.
func (e *engine) shell(script string) string {
	e.Helper()
	return e.run("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", e.cmd.Process.Pid), "bash", "-euo", "pipefail", "-c", script)
}

func (e *engine) run(args ...string) string {
	e.Helper()
	cmd := exec.CommandContext(e.ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = harness.Root, e.env(), 5*time.Second
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		e.Fatalf("%s\n%v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// inside runs f on a thread that is in the engine's network: sockets that f makes stay there.
func (e *engine) inside(f func() error) {
	e.Helper()
	if err := e.enter(f); err != nil {
		e.Fatal(err)
	}
}

func (e *engine) enter(f func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", e.cmd.Process.Pid))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			err = f()
		}
		ended <- err
	}()
	return <-ended
}

// listen listens in the engine's network.
func (e *engine) listen(address string) (ln net.Listener) {
	e.Helper()
	e.inside(func() (err error) { ln, err = net.Listen("tcp4", address); return err })
	e.Cleanup(func() { _ = ln.Close() })
	return ln
}

// dial connects to an address in the engine's network.
func (e *engine) dial(address string) (conn net.Conn, err error) {
	err = e.enter(func() (err error) { conn, err = net.Dial("tcp4", address); return err })
	return conn, err
}
