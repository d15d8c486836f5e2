package node

import (
	"fmt"
	"os/exec"
	"strings"
)

// checkHost names every Debian package that is missing, with the line that installs them.
func checkHost() error {
	var missing []string
	for _, need := range []struct {
		pkg string
		ok  func() bool
	}{
		{"containerd", has("containerd")},
		{"runc", has("runc")},
		{"containernetworking-plugins", func() bool { _, err := cniFolder(); return err == nil }},
		{"iptables", has("iptables")},
		{"conntrack", has("conntrack")},
		{"mount", has("mount")},
		{"python3-venv", func() bool { return exec.Command("python3", "-c", "import venv, ensurepip").Run() == nil }}, //nolint:noctx // it takes no time
	} {
		if !need.ok() {
			missing = append(missing, need.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("the node needs programs that are not installed: apt-get install --no-install-recommends %s", strings.Join(missing, " "))
}

func has(program string) func() bool {
	return func() bool { _, err := exec.LookPath(program); return err == nil }
}
