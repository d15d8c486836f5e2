package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/client/clientset/versioned"
	servingclient "knative.dev/serving/pkg/client/clientset/versioned/typed/serving/v1"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/cluster/observe"
)

// goneInterval is how often it is looked whether what was deleted is gone.
const goneInterval = 100 * time.Millisecond

// Client speaks to a cluster about the Knative Services of one namespace. It is safe for concurrent use.
type Client struct {
	serving   servingclient.ServingV1Interface
	kube      kubernetes.Interface
	namespace string
	// read gets a path of the API server: what no clientset of ours knows.
	read func(ctx context.Context, path string) ([]byte, error)
}

var _ knative.Engine = (*Client)(nil)

// New makes a Client of clientsets.
func New(serving versioned.Interface, kube kubernetes.Interface, namespace string) *Client {
	c := &Client{serving: serving.ServingV1(), kube: kube, namespace: namespace}
	c.read = func(ctx context.Context, path string) ([]byte, error) {
		return kube.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	}
	return c
}

// Apply creates or updates a Service. What others keep in its metadata stays.
func (c *Client) Apply(ctx context.Context, svc *servingv1.Service) error {
	services := c.serving.Services(c.namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		existing, err := services.Get(ctx, svc.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			made := svc.DeepCopy()
			made.Namespace, made.ResourceVersion, made.UID, made.Status = c.namespace, "", "", servingv1.ServiceStatus{}
			_, err = services.Create(ctx, made, metav1.CreateOptions{})
			return err
		}
		if err != nil {
			return err
		}
		changed := existing.DeepCopy()
		changed.Labels = union(changed.Labels, svc.Labels)
		changed.Annotations = union(changed.Annotations, svc.Annotations)
		changed.Spec = svc.Spec
		_, err = services.Update(ctx, changed, metav1.UpdateOptions{})
		return err
	})
	return c.explain(err, "deploy service "+svc.Name)
}

// union is base with what more says.
func union(base, more map[string]string) map[string]string {
	out := make(map[string]string, len(base)+len(more))
	maps.Copy(out, base)
	maps.Copy(out, more)
	return out
}

// Services returns the namespace's Services, sorted by name.
func (c *Client) Services(ctx context.Context) ([]*servingv1.Service, error) {
	list, err := c.serving.Services(c.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, c.explain(err, "list services")
	}
	services := pointers(list.Items)
	for _, s := range services {
		s.ManagedFields = nil
	}
	slices.SortFunc(services, func(a, b *servingv1.Service) int { return strings.Compare(a.Name, b.Name) })
	return services, nil
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// Status returns what runs, sorted by name. The load is not in it: Observe reads that.
func (c *Client) Status(ctx context.Context) ([]knative.ServiceStatus, error) {
	services, err := c.Services(ctx)
	if err != nil {
		return nil, err
	}
	revisions, err := c.serving.Revisions(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabelKey})
	if err != nil {
		return nil, c.explain(err, "list revisions")
	}
	pods, events, err := c.pods(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]knative.ServiceStatus, 0, len(services))
	for _, svc := range services {
		o := observe.Objects{Service: svc, Pods: pods}
		for i := range revisions.Items {
			if rev := &revisions.Items[i]; rev.Labels[serving.ServiceLabelKey] == svc.Name {
				o.Revisions = append(o.Revisions, rev)
				o.Events = append(o.Events, eventsOf(rev.Name, events)...)
			}
		}
		s := observe.Status(o)
		for i := range s.Revisions {
			s.Revisions[i].Unknown = []knative.Figure{knative.FigureConcurrency, knative.FigureQueue, knative.FigureRPS}
		}
		out = append(out, s)
	}
	return out, nil
}

// pods returns the pods of revisions and the warnings about them. Who may read Services but neither of these gets less
// exact reasons, not an error.
func (c *Client) pods(ctx context.Context) ([]*corev1.Pod, []*corev1.Event, error) {
	pods, err := c.kube.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.RevisionLabelKey})
	if apierrors.IsForbidden(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, c.explain(err, "list pods")
	}
	all := pointers(pods.Items)
	events, err := c.kube.CoreV1().Events(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=" + corev1.EventTypeWarning})
	if apierrors.IsForbidden(err) {
		return all, nil, nil
	}
	if err != nil {
		return nil, nil, c.explain(err, "list events")
	}
	return all, pointers(events.Items), nil
}

// eventsOf are the events about a revision's deployment, replica sets and pods, which all have its name first.
func eventsOf(revision string, all []*corev1.Event) []*corev1.Event {
	var events []*corev1.Event
	for _, e := range all {
		if strings.HasPrefix(e.InvolvedObject.Name, revision+"-deployment") {
			events = append(events, e)
		}
	}
	return events
}

// Delete removes a Service and returns when it and its revisions are gone, so that a new one may have their names. The
// replicas finish their requests meanwhile, as queue-proxy sees to.
func (c *Client) Delete(ctx context.Context, name string) error {
	err := c.serving.Services(c.namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return c.noService(ctx, name)
	}
	if err != nil {
		return c.explain(err, "delete service "+name)
	}
	tick := time.NewTicker(goneInterval)
	defer tick.Stop()
	for {
		left, err := c.serving.Revisions(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.ServiceLabelKey + "=" + name})
		if err != nil {
			return c.explain(err, "list revisions")
		}
		if len(left.Items) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("service %s is deleted, revision %s not yet: %w", name, left.Items[0].Name, ctx.Err())
		}
	}
}

// noService is the error for a name that there is not. It names those that there are.
func (c *Client) noService(ctx context.Context, name string) error {
	services, err := c.Services(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.Name
	}
	if len(names) == 0 {
		names = []string{"none"}
	}
	return fmt.Errorf("there is no service %q in namespace %s: there is %s", name, c.namespace, strings.Join(names, ", "))
}
