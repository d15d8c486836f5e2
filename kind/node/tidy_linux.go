package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tidy removes what outlives the processes of a node: its end of the cable, which the kernel would remove in its own
// time, and its cgroups. It waits for processes that still end.
func tidy(ctx context.Context, f folder) error {
	if err := cutCable(f); err != nil {
		return err
	}
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var busy error
		for _, root := range roots {
			busy = errors.Join(busy, removeCgroup(filepath.Join(root, f.cgroup())))
		}
		if busy == nil || !errors.Is(busy, unix.EBUSY) {
			return busy
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes of the node still run: %w", busy)
		case <-tick.C:
		}
	}
}

// cutCable removes the interface that bears the folder's mark; another node's may have the same addresses by now.
func cutCable(owner folder) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if link.Attrs().Alias != string(owner) {
			continue
		}
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("removing the interface %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}
