package kind

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// Usage is how much of a cluster is in use.
type Usage struct {
	Nodes      []NodeUsage     `json:"nodes"`
	Namespaces []NamespacePods `json:"namespaces"` // those that have pods
	// Unknown says what could not be read, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// NodeUsage is a node's memory, in bytes.
type NodeUsage struct {
	Name string `json:"name"`
	// Used is what metrics-server says; nil if it does not.
	Used *int64 `json:"memoryUsed,omitempty"`
	// Memory is what the node has for pods.
	Memory int64 `json:"memory"`
}

// NamespacePods counts the pods of a namespace that have not ended, and those of them that are ready.
type NamespacePods struct {
	Name  string `json:"name"`
	Pods  int    `json:"pods"`
	Ready int    `json:"ready"`
}

// usageOf asks the API server. Who may not read one part still sees the others.
func usageOf(ctx context.Context, client kubernetes.Interface, nodeMetrics func(context.Context) ([]byte, error)) *Usage {
	u := &Usage{Nodes: []NodeUsage{}, Namespaces: []NamespacePods{}}
	unknown := func(what string, err error) {
		if err != nil {
			u.Unknown = append(u.Unknown, fmt.Sprintf("%s: %v", what, err))
		}
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	unknown("nodes", err)
	if err == nil {
		for _, n := range nodes.Items {
			u.Nodes = append(u.Nodes, NodeUsage{Name: n.Name, Memory: n.Status.Allocatable.Memory().Value()})
		}
		unknown("memory in use", u.readMemory(ctx, nodeMetrics))
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	unknown("pods", err)
	if err == nil {
		u.count(pods.Items)
	}
	return u
}

// readMemory reads metrics-server's list of nodes.
func (u *Usage) readMemory(ctx context.Context, nodeMetrics func(context.Context) ([]byte, error)) error {
	data, err := nodeMetrics(ctx)
	if err != nil {
		return err
	}
	var all metricsv1beta1.NodeMetricsList
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	used := map[string]int64{}
	for i := range all.Items {
		used[all.Items[i].Name] = all.Items[i].Usage.Memory().Value()
	}
	var missing []error
	for i := range u.Nodes {
		v, ok := used[u.Nodes[i].Name]
		if !ok {
			missing = append(missing, errors.New("not measured yet on "+u.Nodes[i].Name))
			continue
		}
		u.Nodes[i].Used = &v
	}
	return errors.Join(missing...)
}

func (u *Usage) count(pods []corev1.Pod) {
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		at, found := slices.BinarySearchFunc(u.Namespaces, p.Namespace, func(n NamespacePods, name string) int { return cmp.Compare(n.Name, name) })
		if !found {
			u.Namespaces = slices.Insert(u.Namespaces, at, NamespacePods{Name: p.Namespace})
		}
		u.Namespaces[at].Pods++
		if podReady(p) {
			u.Namespaces[at].Ready++
		}
	}
}
