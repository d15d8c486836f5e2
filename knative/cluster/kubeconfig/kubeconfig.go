// Package kubeconfig finds a cluster as kubectl does. It knows no clientset, so that a small program can use it.
package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say which cluster. The zero value is what kubectl takes.
type Options struct {
	// Kubeconfig is a file. If empty, $KUBECONFIG, else ~/.kube/config, else the pod's own service account.
	Kubeconfig string
	// Context is one of the kubeconfig's. If empty, its current one.
	Context string
	// Namespace holds the Services. If empty, the context's, else default.
	Namespace string
}

// Load returns the settings of a connection, and the namespace that o means.
func Load(o Options) (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.Context}
	overrides.Context.Namespace = o.Namespace
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w: name the cluster by --kubeconfig and --context, or make one: weir cluster up", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	// Knative's warnings are about defaults that the manifests choose knowingly.
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = 50, 100
	return config, namespace, nil
}
