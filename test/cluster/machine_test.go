//go:build cluster

package cluster

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// machine is what a node could leave behind on the host.
type machine struct {
	Mounts, Interfaces, Routes, Rules, Cgroups []string
	Sysctls                                    map[string]string
}

// look takes stock of the machine.
func look(t *testing.T) machine {
	t.Helper()
	m := machine{
		Mounts:  lines(t, "/proc/self/mountinfo"),
		Routes:  lines(t, "/proc/net/route"),
		Rules:   firewall(t),
		Cgroups: cgroups(t),
		Sysctls: sysctls(t),
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		m.Interfaces = append(m.Interfaces, i.Name)
	}
	return m
}

// changed is what is there now and was not before: other programs of the machine may have ended in between.
func (m machine) changed(before machine) string {
	for name, value := range m.Sysctls {
		if old, ok := before.Sysctls[name]; !ok || old == value {
			delete(m.Sysctls, name)
		}
	}
	before.Sysctls = map[string]string{}
	for _, s := range []struct{ now, before *[]string }{
		{&m.Mounts, &before.Mounts}, {&m.Interfaces, &before.Interfaces}, {&m.Routes, &before.Routes},
		{&m.Rules, &before.Rules}, {&m.Cgroups, &before.Cgroups},
	} {
		*s.now = slices.DeleteFunc(*s.now, func(line string) bool { return slices.Contains(*s.before, line) })
		*s.before = nil
		if len(*s.now) == 0 {
			*s.now = nil
		}
	}
	return cmp.Diff(before, m)
}

func lines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

// firewall is the host's rules, without their counters.
func firewall(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "iptables-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^#.*$|\[\d+:\d+\]`).ReplaceAllString(string(out), "")
	return strings.Fields(strings.ReplaceAll(all, " ", "_"))
}

// cgroups are the groups below the root of each hierarchy: what is deeper belongs to who made those.
func cgroups(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if info, err := os.Stat(p); err == nil && info.IsDir() {
				all = append(all, p)
			}
		}
	}
	return all
}

// counters are settings that the kernel changes by itself.
var counters = regexp.MustCompile(`random/|fs/quota/|-nr$|-state$|/nr$|inode|ns_last_pid|_count$|/tainted|/conf/|/neigh/|drop_caches|stat_refresh|_last_|/core_uses|perf_event_max_sample_rate|perf_cpu`)

func sysctls(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("/proc/sys", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || counters.MatchString(path) {
			return nil //nolint:nilerr // an interface's settings may go while we look
		}
		if data, err := os.ReadFile(path); err == nil {
			all[path] = string(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// inside are the processes of the namespaces that pid has and this process has not.
func inside(t *testing.T, namespaces map[string]bool) []string {
	t.Helper()
	var found []string
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		for _, ns := range []string{"pid", "net", "mnt"} {
			if id, err := os.Readlink(filepath.Join(p, "ns", ns)); err == nil && namespaces[id] {
				command, _ := os.ReadFile(filepath.Join(p, "cmdline"))
				found = append(found, fmt.Sprintf("%s %s", filepath.Base(p), strings.ReplaceAll(string(command), "\x00", " ")))
				break
			}
		}
	}
	return found
}

// namespacesOf are the node's namespaces, by way of its first process.
func namespacesOf(t *testing.T, pid int) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, ns := range []string{"pid", "net", "mnt"} {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, ns))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if ours == theirs {
			t.Errorf("the node has no %s namespace of its own", ns)
		}
		ids[theirs] = true
	}
	return ids
}

// routesOut are the routes of a process's network that lead anywhere but to the node's own ranges.
func routesOut(t *testing.T, pid int) []string {
	t.Helper()
	var out []string
	for _, line := range lines(t, fmt.Sprintf("/proc/%d/net/route", pid))[1:] {
		if fields := strings.Fields(line); !strings.HasSuffix(fields[1], "0A") {
			out = append(out, line)
		}
	}
	return out
}
