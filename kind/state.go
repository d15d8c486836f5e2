package kind

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ErrNone says that the state folder knows of no cluster.
var ErrNone = errors.New("there is no cluster: weir cluster up makes one")

// save writes down which cluster the folder is about.
func (i Info) save(state string) error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(state, "cluster.json"), append(data, '\n'), 0o600)
}

func load(state string) (Info, error) {
	var i Info
	data, err := os.ReadFile(filepath.Join(state, "cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("%s: %w", state, ErrNone)
	}
	if err != nil {
		return i, err
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("%s: %w", filepath.Join(state, "cluster.json"), err)
	}
	i.Ready = false
	return i, nil
}

// config leads to the cluster's API server.
func (i Info) config() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = i.Kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: i.Context}).ClientConfig()
}
