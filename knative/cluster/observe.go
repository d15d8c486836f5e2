package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	"knative.dev/serving/pkg/apis/serving"

	"weir.dev/weir/knative"
)

// tellLimit bounds what is asked of others than the API server itself: when they are busy, the replicas are known anyway.
const tellLimit = time.Second

var _ knative.Observer = (*Client)(nil)

// Observe returns what runs now, what the replicas use, and the decisions that stand now; the time since which they are
// asked for is not looked at, as a cluster keeps none that are past. What it does not tell is said in the Notes.
func (c *Client) Observe(ctx context.Context, _ time.Time) (knative.Observation, error) {
	services, err := c.Status(ctx)
	if err != nil {
		return knative.Observation{}, err
	}
	o := knative.Observation{
		Services: services, Decisions: map[string][]knative.Decision{}, Unknown: []knative.Figure{knative.FigureQueue, knative.FigureRPS},
		Notes: []string{"A cluster does not tell how many requests wait for a replica: they are among those at the replicas."},
	}
	if o.Replicas, err = c.usage(ctx, services); err != nil {
		o.Unknown = append(o.Unknown, knative.FigureCPU, knative.FigureMemory)
		o.Notes = append(o.Notes, fmt.Sprintf("What the replicas use is not known, as metrics-server does not tell: %v.", err))
	} else {
		o.Notes = append(o.Notes, "Processors and memory of the replicas are metrics-server's means of the last 10 to 30 seconds.")
	}
	numbers, err := c.autoscaler(ctx)
	if err != nil {
		o.Unknown = append(o.Unknown, knative.FigureConcurrency)
		o.Notes = append(o.Notes, fmt.Sprintf("Requests at the replicas and the decisions' numbers are not known, as Knative's autoscaler does not tell (metrics-protocol: prometheus in config-observability makes it): %v.", err))
	} else {
		o.Notes = append(o.Notes, "Requests at the replicas are the autoscaler's mean of the panic window.")
	}
	used, err := c.processorUse(ctx)
	if err != nil {
		return knative.Observation{}, err
	}
	o.Time = time.Now()
	for _, s := range o.Services {
		for i := range s.Revisions {
			rev := &s.Revisions[i]
			u, scaled := used[rev.Name]
			// Before the first decision a cluster says -1, or 0 where it never goes to zero.
			rev.Wanted = max(0, rev.Wanted, int(u.least))
			d := knative.Decision{Time: o.Time, Wanted: rev.Wanted, Desired: rev.Wanted, Reason: "the autoscaler's numbers are not known"}
			if n, ok := numbers[rev.Name]; ok {
				n.decide(&d)
				rev.Concurrency, rev.Panic = n.panicMetric, n.panics
				rev.Unknown = []knative.Figure{knative.FigureQueue, knative.FigureRPS}
			}
			if scaled {
				u.decide(&d)
			}
			o.Decisions[rev.Name] = []knative.Decision{d}
		}
	}
	return o, nil
}

// usage is what metrics-server says of the pods of these services. Those that are no models, which is the router, are
// together weir's own.
func (c *Client) usage(ctx context.Context, services []knative.ServiceStatus) ([]knative.ReplicaUsage, error) {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	data, err := c.read(ctx, "/apis/metrics.k8s.io/v1beta1/namespaces/"+c.namespace+"/pods")
	if err != nil {
		return nil, err
	}
	var pods metricsv1beta1.PodMetricsList
	if err := json.Unmarshal(data, &pods); err != nil {
		return nil, err
	}
	var all []knative.ReplicaUsage
	var self *knative.ReplicaUsage
	for i := range pods.Items {
		pod := &pods.Items[i]
		u := knative.ReplicaUsage{Name: pod.Name, Service: pod.Labels[serving.ServiceLabelKey], Revision: pod.Labels[serving.RevisionLabelKey], Processors: new(float64)}
		at := slices.IndexFunc(services, func(s knative.ServiceStatus) bool { return s.Name == u.Service })
		if at < 0 {
			continue
		}
		for _, container := range pod.Containers {
			*u.Processors += container.Usage.Cpu().AsApproximateFloat64()
			u.Memory += uint64(container.Usage.Memory().Value())
		}
		switch {
		case services[at].Model:
			all = append(all, u)
		case self == nil:
			u.Name = knative.EngineReplica
			self = &u
		default:
			*self.Processors += *u.Processors
			self.Memory += u.Memory
		}
	}
	slices.SortFunc(all, func(a, b knative.ReplicaUsage) int { return strings.Compare(a.Name, b.Name) })
	if self != nil {
		all = append(all, *self)
	}
	return all, nil
}

// processorUse is what Kubernetes' autoscaler says of the revisions that it scales, by name.
func (c *Client) processorUse(ctx context.Context) (map[string]utilization, error) {
	list, err := c.kube.AutoscalingV2().HorizontalPodAutoscalers(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: serving.RevisionLabelKey})
	if err != nil {
		return nil, c.explain(err, "list horizontal pod autoscalers")
	}
	all := map[string]utilization{}
	for i := range list.Items {
		hpa := &list.Items[i]
		all[hpa.Labels[serving.RevisionLabelKey]] = utilizationOf(hpa)
	}
	return all, nil
}
