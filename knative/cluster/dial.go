package cluster

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"knative.dev/serving/pkg/client/clientset/versioned"

	"weir.dev/weir/knative/cluster/kubeconfig"
)

// Dial makes the client of a cluster. It does not call it yet.
func Dial(o kubeconfig.Options) (*Client, error) {
	config, namespace, err := kubeconfig.Load(o)
	if err != nil {
		return nil, err
	}
	// weir load looks every second, with seven requests; of itself the client lets five a second through.
	config.QPS, config.Burst = 50, 100
	serving, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return New(serving, kube, namespace), nil
}
