package install

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
)

// waitEstablished waits until the API server serves the kinds that were defined.
func (c *client) waitEstablished(ctx context.Context, definitions []*Object) error {
	for _, d := range definitions {
		r, err := c.resource(d)
		if err != nil {
			return err
		}
		err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			got, err := r.Get(ctx, d.GetName(), metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			return conditionTrue(got, "Established"), nil
		})
		if err != nil {
			return fmt.Errorf("%s is not served: %w", label(d), err)
		}
	}
	return nil
}

func conditionTrue(o *Object, name string) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == name {
			return c["status"] == string(metav1.ConditionTrue)
		}
	}
	return false
}

// sayEvery is how long a wait may be silent.
const sayEvery = 15 * time.Second

// waitAvailable waits for every Deployment by itself, and says which are missing whenever that changes.
func (c *client) waitAvailable(ctx context.Context, objects []*Object, say func(string, ...any)) error {
	var waiting []*Object
	for _, o := range objects {
		if o.GetKind() == "Deployment" {
			waiting = append(waiting, o)
		}
	}
	all := len(waiting)
	said := time.Now()
	err := wait.PollUntilContextCancel(ctx, 250*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var still []*Object
		for _, d := range waiting {
			ok, err := c.available(ctx, d)
			if err != nil {
				return false, err
			}
			if !ok {
				still = append(still, d)
			}
		}
		switch {
		case len(still) < len(waiting):
			said = time.Now()
			say("%d of %d deployments are available%s", all-len(still), all, names(still))
		case time.Since(said) > sayEvery:
			said = time.Now()
			say("still waiting: %v", c.why(ctx, still[:1]))
		}
		waiting = still
		return len(still) == 0, nil
	})
	if err == nil || len(waiting) == 0 {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), c.why(context.WithoutCancel(ctx), waiting))
}

// names lists what is waited for, if it is few.
func names(objects []*Object) string {
	if len(objects) == 0 || len(objects) > 4 {
		return ""
	}
	var list []string
	for _, o := range objects {
		list = append(list, o.GetName())
	}
	return "; waiting for " + strings.Join(list, ", ")
}

func (c *client) available(ctx context.Context, o *Object) (bool, error) {
	r, err := c.resource(o)
	if err != nil {
		return false, err
	}
	got, err := r.Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, err
	}
	if err != nil {
		return false, nil //nolint:nilerr // the API server is busy; the next look tells
	}
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, &d); err != nil {
		return false, err
	}
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= want && d.Status.AvailableReplicas >= want, nil
}

// why says what holds up each deployment, from its pods.
func (c *client) why(ctx context.Context, waiting []*Object) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pods := c.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
	var errs []error
	for _, d := range waiting {
		reason := "it has no pods yet"
		labels, _, _ := unstructured.NestedStringMap(d.Object, "spec", "selector", "matchLabels")
		list, err := pods.Namespace(d.GetNamespace()).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, item := range list.Items {
			var pod corev1.Pod
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pod); err != nil {
				return err
			}
			reason = podReason(&pod)
			if warning := c.lastWarning(ctx, &pod); warning != "" {
				reason = warning
			}
		}
		errs = append(errs, fmt.Errorf("%s: %s", label(d), reason))
	}
	return errors.Join(errs...)
}

// lastWarning is what the cluster said last about a pod that does not run.
func (c *client) lastWarning(ctx context.Context, pod *corev1.Pod) string {
	events := c.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"})
	list, err := events.Namespace(pod.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.uid=" + string(pod.UID)})
	if err != nil || len(list.Items) == 0 {
		return ""
	}
	latest := slices.MaxFunc(list.Items, func(a, b Object) int { return strings.Compare(lastSeen(a), lastSeen(b)) })
	message, _, _ := unstructured.NestedString(latest.Object, "message")
	return message
}

func lastSeen(event Object) string {
	at, _, _ := unstructured.NestedString(event.Object, "lastTimestamp")
	return at
}

// podReason is why a pod does not run, as far as it is known.
func podReason(pod *corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		switch {
		case s.State.Waiting != nil:
			return strings.TrimSpace(s.State.Waiting.Reason + " " + s.State.Waiting.Message)
		case s.State.Terminated != nil:
			return fmt.Sprintf("ended with %d: %s", s.State.Terminated.ExitCode, s.State.Terminated.Message)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return string(pod.Status.Phase)
}
