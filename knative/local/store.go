package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rs/zerolog"

	"weir.dev/weir/knative/local/replica"
)

// DefaultStateDir is $WEIR_STATE, else weir below $XDG_STATE_HOME or ~/.local/state.
func DefaultStateDir() string {
	if dir := os.Getenv("WEIR_STATE"); dir != "" {
		return dir
	}
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return filepath.Join(os.TempDir(), "weir-state")
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "weir")
}

// store is the state folder: services/NAME.json, records/ of replicas, logs/REVISION.log, engine.json, lock.
type store struct {
	dir  string
	lock *os.File
}

// openStore makes the folder, locks it and ends what a crashed engine left in it.
func openStore(dir string, log zerolog.Logger) (*store, error) {
	if dir == "" {
		dir = DefaultStateDir()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	s := &store{dir: dir}
	for _, sub := range []string{"services", "records", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	if s.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		other := "another process"
		if info, err := readInfo(dir); err == nil {
			other = fmt.Sprintf("process %d", info.PID)
		}
		return nil, errors.Join(fmt.Errorf("weir runs already with the state folder %s, as %s: end it with weir down, or choose another with --state", dir, other), s.lock.Close())
	}
	ended, err := replica.Reap(s.records(), log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replicas of an earlier run: %w", err), s.close())
	}
	if ended > 0 {
		log.Warn().Int("replicas", ended).Msg("ended replicas that an earlier run had left")
	}
	return s, nil
}

// unlocked says whether no engine uses a state folder.
func unlocked(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return true
	}
	defer f.Close() // which unlocks
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
}

func (s *store) records() string { return filepath.Join(s.dir, "records") }

func (s *store) close() error { return s.lock.Close() }

func (s *store) file(name string) string { return filepath.Join(s.dir, "services", name+".json") }

func (s *store) load() ([]*service, error) {
	files, err := filepath.Glob(s.file("*"))
	if err != nil {
		return nil, err
	}
	var out []*service
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var svc service
		if err := json.Unmarshal(data, &svc); err != nil {
			return nil, fmt.Errorf("%s: %w: remove it to start without that service", f, err)
		}
		out = append(out, &svc)
	}
	return out, nil
}

func (s *store) save(svc *service) error {
	return writeJSON(s.file(svc.Service.Name), svc)
}

// forget removes a service. One that could not be saved is not there.
func (s *store) forget(service string) error {
	if err := os.Remove(s.file(service)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// info is what engine.json tells clients.
type info struct {
	PID     int    `json:"pid"`
	Socket  string `json:"socket"`
	Address string `json:"address"`
}

func readInfo(dir string) (info, error) {
	var i info
	data, err := os.ReadFile(filepath.Join(dir, "engine.json"))
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(data, &i)
}

func (s *store) writeInfo(i info) error { return writeJSON(filepath.Join(s.dir, "engine.json"), i) }

func (s *store) removeInfo() error { return os.Remove(filepath.Join(s.dir, "engine.json")) }

// writeJSON writes a file whole or not at all.
func writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+strings.TrimSuffix(filepath.Base(name), ".json")+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}
