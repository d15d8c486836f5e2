package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// folder is where a node keeps everything that outlives its processes.
type folder string

func (f folder) path(elem ...string) string {
	return filepath.Join(append([]string{string(f), "node"}, elem...)...)
}

func (f folder) kubeconfig() string { return filepath.Join(string(f), "kubeconfig") }

// cgroup is the name of the node's cgroup below the root; it is the folder's own, whatever other nodes there are.
func (f folder) cgroup() string {
	sum := sha256.Sum256([]byte(f))
	return "weir-" + hex.EncodeToString(sum[:4])
}

// record is what the keeper writes down before it makes anything, so that it can be found and removed after a crash.
type record struct {
	network
	Programs string `json:"programs"`
	Ingress  string `json:"ingress"` // address on this machine that leads to the ingress
	API      string `json:"api"`     // address on this machine that leads to the API server
}

func (f folder) save(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	tmp := f.path("record.json.new")
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, f.path("record.json"))
}

// load returns fs.ErrNotExist when no node was started in the folder.
func (f folder) load() (record, error) {
	var r record
	data, err := os.ReadFile(f.path("record.json"))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%s: %w", f.path("record.json"), err)
	}
	return r, nil
}

// remove deletes what the node kept, and nothing else that lies in the folder.
func (f folder) remove() error {
	err := os.Remove(f.kubeconfig())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(f.path()))
}
