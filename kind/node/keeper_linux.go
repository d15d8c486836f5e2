package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// plan is what the keeper tells the first process when the cable is there.
type plan struct {
	State  folder `json:"state"`
	Record record `json:"record"`
}

func keep(ctx context.Context, state string) error {
	f, err := open(state)
	if err != nil {
		return err
	}
	lock, err := f.lock()
	if err != nil {
		return err
	}
	if lock == nil {
		return fmt.Errorf("another keeper has the node of %s", f)
	}
	defer lock.Close()
	if err := sign(lock, os.Getpid()); err != nil {
		return err
	}
	r, err := f.load()
	if err != nil {
		return err
	}
	if err := tidy(ctx, f); err != nil {
		return err
	}
	err = f.runNode(ctx, r)
	// A fresh context: ctx has ended.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	return errors.Join(err, tidy(clean, f))
}

// runNode starts the first process, lays the cable, forwards, and returns when ctx has ended or the process has.
func (f folder) runNode(ctx context.Context, r record) error {
	ingress, err := net.Listen("tcp", r.Ingress)
	if err != nil {
		return fmt.Errorf("the ingress's address: %w (choose another with --listen)", err)
	}
	defer ingress.Close()
	r.Ingress = ingress.Addr().String()
	api, err := listenAgain(r.API)
	if err != nil {
		return err
	}
	defer api.Close()
	r.API = api.Addr().String()
	if err := makeCgroups(f.cgroup()); err != nil {
		return err
	}
	init, tell, err := f.startInit()
	if err != nil {
		return err
	}
	defer tell.Close()
	if r.network, err = connect(ctx, f, r.network, init.Process.Pid); err == nil {
		err = f.save(r)
	}
	if err == nil {
		err = json.NewEncoder(tell).Encode(plan{f, r})
	}
	if err != nil {
		return errors.Join(err, init.Process.Kill(), ignoreExit(init.Wait()))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		err := init.Wait()
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("the node's first process ended: %w", err)
	})
	g.Go(func() error { return forward(ctx, ingress, netip.AddrPortFrom(r.ingress(), 80).String()) })
	g.Go(func() error { return forward(ctx, api, r.apiServer()) })
	<-ctx.Done()
	// When PID 1 of a namespace dies, the kernel ends everything in it.
	if err := init.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return g.Wait()
}

// listenAgain listens where it did before if it still can: the kubeconfig names that port.
func listenAgain(address string) (net.Listener, error) {
	if address != "" {
		if ln, err := net.Listen("tcp", address); err == nil {
			return ln, nil
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// startInit starts the first process in its namespaces; it waits for its plan on the pipe. It dies with the keeper.
func (f folder) startInit() (*exec.Cmd, *os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer read.Close()
	// The signal comes when the thread that started the process ends, not the process: keep the thread.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", "cluster", "init") //nolint:noctx // it ends with the keeper, by signal
	cmd.Dir, cmd.Env = "/", environment(f)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	if err := cmd.Start(); err != nil {
		write.Close()
		return nil, nil, fmt.Errorf("starting the node's first process in namespaces of its own: %w", err)
	}
	return cmd, write, nil
}

func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// connect lays a cable between the host and the namespace of pid. A node that had addresses keeps them.
func connect(ctx context.Context, owner folder, n network, pid int) (network, error) {
	if n.Slot >= 0 {
		return n, n.lay(ctx, owner, pid)
	}
	for n.Slot = 0; n.Slot < slots; n.Slot++ {
		taken, err := n.taken()
		if err != nil {
			return n, err
		}
		if taken {
			continue
		}
		// Another node may have taken the slot just now.
		if err := n.lay(ctx, owner, pid); !errors.Is(err, unix.EEXIST) {
			return n, err
		}
	}
	return n, fmt.Errorf("this machine has routes to every one of the %d sets of addresses that a node can have (10.86.0.0/16, 10.96-103.0.0/16, 10.240-247.0.0/16)", slots)
}

// taken says whether the host has routes to where the node's would lead.
func (n network) taken() (bool, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false, err
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP.To4())
		bits, _ := r.Dst.Mask.Size()
		if !ok || bits == 0 {
			continue
		}
		dst := netip.PrefixFrom(addr, bits)
		for _, p := range append(n.routes(), n.host()) {
			if p.Overlaps(dst) {
				return true, nil
			}
		}
	}
	return false, nil
}

// lay makes the pair of interfaces, marked with the folder it belongs to, and the host's routes.
func (n network) lay(ctx context.Context, owner folder, pid int) error {
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: n.device()},
		PeerName:      insideDevice,
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := retryExists(ctx, func() error { return netlink.LinkAdd(cable) }); err != nil {
		return fmt.Errorf("making the interface %s: %w", n.device(), err)
	}
	link, err := netlink.LinkByName(n.device())
	if err != nil {
		return err
	}
	if err := errors.Join(
		netlink.LinkSetAlias(link, string(owner)),
		netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(n.host())}),
		netlink.LinkSetUp(link),
	); err != nil {
		return err
	}
	for _, dst := range n.routes() {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: n.inside().Addr().AsSlice(), Src: n.host().Addr().AsSlice()}
		if err := netlink.RouteAdd(route); err != nil {
			return fmt.Errorf("the route to %s: %w", dst, err)
		}
	}
	return nil
}

// retryExists tries again for a moment while a node that was killed still goes away.
func retryExists(ctx context.Context, do func() error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 20 {
		if err := do(); !errors.Is(err, unix.EEXIST) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return do()
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
