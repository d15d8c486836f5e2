package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// inherited are the variables of the engine that a replica gets: what programs need to find their libraries, their home
// and the user's language. Everything else is the manifest's, as in a container.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE",
	"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME", "GOCOVERDIR",
}

// environment returns the replica's environment. Of two values of a variable, the later one counts.
func environment(s Spec, port int) []string {
	var env []string
	for _, k := range inherited {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	// Only this machine's router is to reach a replica.
	env = append(env, "TF_CPP_MIN_LOG_LEVEL=2", "TF_ENABLE_ONEDNN_OPTS=1", "HOST=127.0.0.1")
	env = append(env, s.Env...)
	return append(env,
		"PORT="+strconv.Itoa(port),
		"K_SERVICE="+s.Service,
		"K_CONFIGURATION="+s.Configuration,
		"K_REVISION="+s.Revision,
	)
}

// findProgram returns the path of the program to run. Its errors say what to do.
func findProgram(s Spec) (string, error) {
	if len(s.Command) == 0 || s.Command[0] == "" {
		return "", errors.New("there is no command to run: set the annotation local.weir.dev/command")
	}
	if s.Dir != "" {
		if d, err := os.Stat(s.Dir); err != nil || !d.IsDir() {
			return "", fmt.Errorf("its folder %s does not exist", s.Dir)
		}
	}
	name := s.Command[0]
	if !strings.ContainsRune(name, filepath.Separator) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("program %s is not in PATH: install it or give its path: %w", name, err)
		}
		return path, nil
	}
	path := name
	if !filepath.IsAbs(path) {
		// Not as it is: os/exec would look it up from the engine's folder and run it from the replica's.
		abs, err := filepath.Abs(filepath.Join(s.Dir, name))
		if err != nil {
			return "", err
		}
		path = abs
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("program %s does not exist: build it (make build) or correct local.weir.dev/command: %w", path, fs.ErrNotExist)
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("program %s is a folder: correct local.weir.dev/command", path)
	case info.Mode()&0o111 == 0:
		return "", fmt.Errorf("program %s is not executable: build it again (make build) or chmod +x it: %w", path, fs.ErrPermission)
	}
	return path, nil
}

// freePort returns a port that nobody listens on now. A replica that finds it taken after all ends, and is restarted.
func freePort() (int, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
