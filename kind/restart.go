package kind

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// forgetPods removes the pods that a node had before it was cut off: they ended with it, but the API server still says
// that they are ready. Their leases go, too: Knative's new controllers would wait a minute for those of the old ones. It
// waits until no Deployment counts the pods any more.
func forgetPods(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	namespaces, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var now int64
	for _, ns := range namespaces.Items {
		err := client.CoreV1().Pods(ns.Name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("removing the pods of %s that ended with the node: %w", ns.Name, err)
		}
		if strings.HasPrefix(ns.Name, "kube-") {
			continue
		}
		if err := client.CoordinationV1().Leases(ns.Name).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("removing the leases of %s: %w", ns.Name, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("the controllers do not see that the node's pods have ended"))
	defer cancel()
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		return countsAreTrue(ctx, client)
	})
	if err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// countsAreTrue says whether every Deployment has as many ready pods as it says.
func countsAreTrue(ctx context.Context, client kubernetes.Interface) (bool, error) {
	deployments, err := client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	for _, d := range deployments.Items {
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil {
			return false, err
		}
		var ready int32
		for _, p := range pods.Items {
			if p.Namespace == d.Namespace && selector.Matches(labels.Set(p.Labels)) && podReady(&p) {
				ready++
			}
		}
		if d.Status.ReadyReplicas > ready {
			return false, nil
		}
	}
	return true, nil
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
