package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// startLimit is how long the API server may take to answer; on a slow machine it takes tens of seconds.
const startLimit = 3 * time.Minute

func up(ctx context.Context, o Options) (Info, error) {
	f, err := open(o.State)
	if err != nil {
		return Info{}, err
	}
	programs, err := build(ctx, o)
	if err != nil {
		return Info{}, err
	}
	if err := os.MkdirAll(f.path("log"), 0o755); err != nil {
		return Info{}, err
	}
	_, err = f.load()
	fresh := errors.Is(err, fs.ErrNotExist)
	var keeper <-chan error
	running, err := f.running()
	switch {
	case err != nil:
		return Info{}, err
	case running:
		o.say("the node runs already")
	default:
		if keeper, err = f.launch(ctx, o, programs); err != nil {
			return Info{}, err
		}
	}
	r, err := f.awaitAPI(ctx, keeper)
	if err != nil {
		return Info{}, err
	}
	info := r.info(f)
	info.Restarted = !running && !fresh
	return info, f.writeKubeconfig(r)
}

func check(state string) error {
	_, err := open(state)
	return err
}

// open checks what a node needs of the machine and of its folder.
func open(state string) (folder, error) {
	abs, err := filepath.Abs(state)
	if err != nil {
		return "", err
	}
	if os.Geteuid() != 0 {
		return "", errors.New("--on node makes namespaces, a virtual interface and cgroups, and so needs root: run it with sudo")
	}
	for _, dir := range hidden {
		if rel, err := filepath.Rel(dir, abs); err == nil && filepath.IsLocal(rel) {
			return "", fmt.Errorf("--state %s: the node has a %s of its own; choose a folder elsewhere", state, dir)
		}
	}
	return folder(abs), nil
}

// launch starts the keeper, which outlives this process, and returns what it ends with.
func (f folder) launch(ctx context.Context, o Options, programs string) (<-chan error, error) {
	r, err := f.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r = record{network: network{Slot: -1}}
		o.say("starting the node. It gets namespaces of its own, a virtual interface (the first of weir0 to weir%d that is free, with routes to 10.86.N.0/30, 10.(96+N).0.0/16 and 10.(240+N).0.0/16), cgroups named %s and files below %s; weir cluster down removes all of it", slots-1, f.cgroup(), f)
	case err != nil:
		return nil, err
	default:
		o.say("starting the node again with what it had")
	}
	r.Programs = programs
	r.Ingress = o.Ingress
	if r.Ingress == "" {
		r.Ingress = "127.0.0.1:80"
	}
	if err := f.save(r); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(f.path("log", "keeper.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, "cluster", "keep", "--state", string(f))
	cmd.Dir, cmd.Env = "/", environment(f)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// awaitAPI waits until the API server is ready or the keeper has ended.
func (f folder) awaitAPI(ctx context.Context, keeper <-chan error) (record, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := f.load()
		if err != nil {
			return r, err
		}
		if r.Slot >= 0 && ready(ctx, "https://"+r.apiServer()+"/readyz") {
			return r, nil
		}
		select {
		case <-keeper:
			return r, fmt.Errorf("the node ended: %s", f.lastLine("keeper.log"))
		case <-ctx.Done():
			return r, fmt.Errorf("the API server is not ready (logs: %s): %w", f.path("log"), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// ready asks a health address of the node. The certificate is not checked: nothing is told and nothing is trusted but
// the moment.
func ready(ctx context.Context, url string) bool {
	client := http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusOK
}

// writeKubeconfig is kubeadm's, by way of 127.0.0.1: a proxy in the environment does not get in between.
func (f folder) writeKubeconfig(r record) error {
	data, err := os.ReadFile(f.path("pki", "super-admin.conf"))
	if err != nil {
		return err
	}
	return os.WriteFile(f.kubeconfig(), []byte(strings.ReplaceAll(string(data), "https://"+r.apiServer(), "https://"+r.API)), 0o600)
}

func down(ctx context.Context, o Options) error {
	f, err := open(o.State)
	if err != nil {
		return err
	}
	if _, err := f.load(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return errors.Join(f.remove(), ErrNone)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := f.stopKeeper(ctx); err != nil {
		return err
	}
	if err := tidy(ctx, f); err != nil {
		return err
	}
	return f.remove()
}

// stopKeeper ends the keeper, if there is one, and waits for it.
func (f folder) stopKeeper(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for signalled := false; ; {
		running, err := f.running()
		if err != nil || !running {
			return err
		}
		if pid := f.keeperPID(); pid > 0 && !signalled {
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending the keeper %d: %w", pid, err)
			}
			signalled = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the keeper %d does not end: %w", f.keeperPID(), context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// lock takes the lock that the keeper holds as long as it lives. It returns nil when another process has it.
func (f folder) lock() (*os.File, error) {
	file, err := os.OpenFile(f.path("keeper.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}

// running says whether a keeper lives.
func (f folder) running() (bool, error) {
	file, err := f.lock()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || file == nil {
		return file == nil && err == nil, err
	}
	return false, file.Close()
}

// sign writes into the lock who holds it. The keeper before may have had a longer number.
func sign(lock *os.File, pid int) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(strconv.Itoa(pid)+"\n"), 0)
	return err
}

// keeperPID is the process that holds the lock; 0 for a moment at its start.
func (f folder) keeperPID() int {
	data, err := os.ReadFile(f.path("keeper.lock"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(data)))
	return pid
}

// lastLine is the last line of a log, which says why its program ended.
func (f folder) lastLine(log string) string {
	data, _ := os.ReadFile(f.path("log", log))
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	last := strings.TrimPrefix(lines[len(lines)-1], "weir: ")
	if last == "" {
		return "see the logs in " + f.path("log")
	}
	return last
}

// environment is what every process of the node is started with: no proxy and no setting of the caller's gets in.
func environment(f folder) []string {
	return slices.Concat([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
	}, []string{"TMPDIR=" + f.path("tmp")})
}
