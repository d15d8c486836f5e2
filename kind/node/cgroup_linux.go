package node

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cgroupRoots are the mount points of the cgroup file systems: one with version 2, one for each controller with
// version 1.
func cgroupRoots() ([]string, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer mounts.Close()
	var roots []string
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		// "36 35 98:0 / /mnt rw shared:1 - ext3 /dev/root rw": see proc_pid_mountinfo(5).
		mount, kind, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		if ok && len(fields) > 4 && strings.HasPrefix(kind, "cgroup") {
			roots = append(roots, fields[4])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no cgroups are mounted: a node needs /sys/fs/cgroup")
	}
	return roots, nil
}

// makeCgroups makes the group that all pods lie below, in each hierarchy.
func makeCgroups(name string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// A new group of the version 1 controller cpuset has no processor and no memory node.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			all, err := os.ReadFile(filepath.Join(root, file))
			if err != nil || filepath.Base(root) != "cpuset" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), all, 0o644); err != nil {
				return err
			}
		}
		if err := weigh(dir); err != nil {
			return err
		}
	}
	return nil
}

// weigh gives a new group of the version 1 controller cpu the weight of eight processes: by default all pods together
// would get as much as one process beside them, and a busy machine would starve the node.
func weigh(dir string) error {
	shares := filepath.Join(dir, "cpu.shares")
	if _, err := os.Stat(shares); err != nil {
		return nil //nolint:nilerr // Another controller's group, or version 2, where groups do not compete with processes.
	}
	return os.WriteFile(shares, []byte("8192"), 0o644)
}

// removeCgroup removes a group and those below it, which only rmdir can.
func removeCgroup(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	for _, d := range slices.Backward(dirs) {
		if e := os.Remove(d); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
