package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideDevice is the name of the cable's end in the node's namespace.
const insideDevice = "eth0"

// hidden are the folders that the node has of its own: containerd, runc, the CNI plugins, the kubelet and iptables
// write to fixed places below them.
var hidden = []string{"/run", "/var/log", "/var/lib"}

// tunables are what the kubelet wants of settings that belong to the whole machine. In the node's mount namespace a
// file with the value lies over each, so that the kubelet is content and the machine's settings stay as they are.
var tunables = map[string]int{
	"kernel/panic":                   10,
	"kernel/panic_on_oops":           1,
	"kernel/keys/root_maxkeys":       1000000,
	"kernel/keys/root_maxbytes":      25000000,
	"vm/overcommit_memory":           1,
	"vm/panic_on_oom":                0,
	"net/netfilter/nf_conntrack_max": 0,
}

func initProcess() error {
	if os.Getpid() != 1 {
		return errors.New("this is the first process of a node: weir cluster up --on node starts it")
	}
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		return fmt.Errorf("the keeper has not said what to do: %w", err)
	}
	n := components{folder: p.State, record: p.Record}
	if err := errors.Join(unix.Sethostname([]byte(nodeName)), n.mounts(), n.wire()); err != nil {
		return err
	}
	if err := n.writeConfig(); err != nil {
		return err
	}
	if err := n.makePKI(); err != nil {
		return err
	}
	return n.run(context.Background())
}

// mounts gives the node a /proc, a /run and a few folders of its own; nothing of it reaches the host.
func (n components) mounts() error {
	// Cut off from the host, but shared with the mount namespaces of containers.
	for _, flag := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|flag, ""); err != nil {
			return fmt.Errorf("mount propagation: %w", err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// The pods' network namespaces and the sockets end with the node; what lies in the other folders does not.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	for _, dir := range hidden[1:] {
		own := n.path("root", dir)
		if err := errors.Join(os.MkdirAll(own, 0o755), unix.Mount(own, dir, "", unix.MS_BIND, "")); err != nil {
			return fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	for name, value := range tunables {
		setting := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(setting); err != nil {
			continue
		}
		file := filepath.Join("/run/weir/sys", name)
		if err := errors.Join(
			os.MkdirAll(filepath.Dir(file), 0o755),
			os.WriteFile(file, []byte(strconv.Itoa(value)+"\n"), 0o644),
			unix.Mount(file, setting, "", unix.MS_BIND, ""),
		); err != nil {
			return fmt.Errorf("covering %s: %w", setting, err)
		}
	}
	return os.MkdirAll(n.path("tmp"), 0o700)
}

// wire brings the interfaces up. The node's own address and the services' lie on the loopback interface: there is no
// default route, so a packet to anywhere else is refused, not sent.
func (n components) wire() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	cable, err := netlink.LinkByName(insideDevice)
	if err != nil {
		return err
	}
	return errors.Join(
		netlink.LinkSetUp(lo),
		netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(n.node(), 32))}),
		netlink.AddrAdd(cable, &netlink.Addr{IPNet: ipNet(n.inside())}),
		netlink.LinkSetUp(cable),
		netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(n.services()), Src: n.node().AsSlice(), Scope: netlink.SCOPE_LINK}),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1\n"), 0o644),
		bridgeRules(),
	)
}

// bridgeRules makes iptables see traffic between pods, where the kernel can be told to.
func bridgeRules() error {
	err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1\n"), 0o644)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// makePKI has kubeadm make the certificates and kubeconfigs, once.
func (n components) makePKI() error {
	users := []string{"coredns", "kube-proxy", "volumes"}
	done := n.path("pki", users[len(users)-1]+".conf")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	config := "--config=" + n.path("conf", "kubeadm.yaml")
	for _, args := range [][]string{
		{"init", "phase", "certs", "all", config},
		{"init", "phase", "kubeconfig", "all", config, "--kubeconfig-dir", n.path("pki")},
	} {
		if _, err := n.kubeadm(args...); err != nil {
			return err
		}
	}
	// In this order: the last one says that all are there.
	for _, user := range users {
		kubeconfig, err := n.kubeadm("kubeconfig", "user", config, "--client-name", "system:"+user)
		if err != nil {
			return err
		}
		if err := os.WriteFile(n.path("pki", user+".conf"), kubeconfig, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n components) kubeadm(args ...string) ([]byte, error) {
	cmd := exec.Command(n.program(), args...) //nolint:noctx // it ends with the namespace
	cmd.Args[0] = "kubeadm"
	cmd.Env = environment(n.folder)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kubeadm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// run starts the components in their order and never returns as long as it can start them.
func (n components) run(ctx context.Context) error {
	s := newSupervisor(n.path("log"), environment(n.folder))
	go s.reap()
	for _, c := range n.first() {
		go s.keepUp(ctx, c)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ready(ctx, "https://"+n.apiServer()+"/readyz") {
		<-tick.C
	}
	for _, c := range n.second() {
		go s.keepUp(ctx, c)
	}
	select {} // PID 1 stays: the keeper ends it
}
