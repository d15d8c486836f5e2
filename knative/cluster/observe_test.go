package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"knative.dev/serving/pkg/apis/serving"

	"weir.dev/weir/knative"
)

const podMetrics = `{"items": [
  {"metadata": {"name": "half-1", "labels": {"serving.knative.dev/service": "half", "serving.knative.dev/revision": "half-00001"}},
   "containers": [{"usage": {"cpu": "250m", "memory": "100Mi"}}, {"usage": {"cpu": "500u", "memory": "1Mi"}}]},
  {"metadata": {"name": "router-1", "labels": {"serving.knative.dev/service": "router"}}, "containers": [{"usage": {"cpu": "1", "memory": "1Mi"}}]},
  {"metadata": {"name": "router-2", "labels": {"serving.knative.dev/service": "router"}}, "containers": [{"usage": {"cpu": "1", "memory": "1Mi"}}]},
  {"metadata": {"name": "somebody"}, "containers": [{"usage": {"cpu": "1", "memory": "1Mi"}}]}]}`

// As Knative's autoscaler v0.50 shows them.
const gauges = `# TYPE kn_revision_pods_desired gauge
kn_revision_pods_desired{k8s_namespace_name="models",kn_revision_name="half-00001"} 3
kn_revision_pods_desired{k8s_namespace_name="elsewhere",kn_revision_name="half-00001"} 9
# TYPE kn_revision_panic_mode gauge
kn_revision_panic_mode{k8s_namespace_name="models",kn_revision_name="half-00001"} 1
# TYPE kn_revision_concurrency_stable gauge
kn_revision_concurrency_stable{k8s_namespace_name="models",kn_revision_name="half-00001"} 2.9
# TYPE kn_revision_concurrency_panic gauge
kn_revision_concurrency_panic{k8s_namespace_name="models",kn_revision_name="half-00001"} 7.25
# TYPE kn_revision_concurrency_target gauge
kn_revision_concurrency_target{k8s_namespace_name="models",kn_revision_name="half-00001"} 2.8
# TYPE kn_revision_capacity_excess gauge
kn_revision_capacity_excess{k8s_namespace_name="models",kn_revision_name="half-00001"} -207
`

// observed is a cluster with a model on Knative's autoscaler, one on Kubernetes', and the router.
func observed(answers map[string]string) world {
	half, other := revision("half-00001", "half"), revision("other-00001", "other")
	wanted := int32(2)
	half.Status.DesiredReplicas, other.Status.DesiredReplicas = &wanted, &wanted
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{
		Name: "other-00001", Namespace: "models", Labels: map[string]string{serving.RevisionLabelKey: "other-00001"},
	}}
	target, current := int32(50), int32(143)
	hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{AverageUtilization: &target},
	}}}
	hpa.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{Resource: &autoscalingv2.ResourceMetricStatus{
		Name: corev1.ResourceCPU, Current: autoscalingv2.MetricValueStatus{AverageUtilization: &current},
	}}}
	objects := []runtime.Object{service("router"), half, other}
	for _, name := range []string{"half", "other"} {
		svc := service(name)
		svc.Labels = map[string]string{knative.LabelModel: name}
		svc.Spec.Template.Name = name + "-00001"
		objects = append(objects, svc)
	}
	w := newWorld(objects, hpa, pod("half-1", "half", "half-00001"))
	w.read = func(_ context.Context, path string) ([]byte, error) {
		if a, ok := answers[path]; ok {
			return []byte(a), nil
		}
		return nil, errors.New("nobody answers")
	}
	return w
}

func TestObserve(t *testing.T) {
	t.Parallel()
	w := observed(map[string]string{"/apis/metrics.k8s.io/v1beta1/namespaces/models/pods": podMetrics, autoscalerMetrics: gauges})
	o, err := w.Observe(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	quarter, two := 0.2505, 2.0
	if diff := cmp.Diff([]knative.ReplicaUsage{
		{Name: "half-1", Service: "half", Revision: "half-00001", Processors: &quarter, Memory: 101 << 20},
		{Name: knative.EngineReplica, Service: "router", Processors: &two, Memory: 2 << 20},
	}, o.Replicas, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
		t.Errorf("replicas (-want +got):\n%s", diff)
	}
	want := map[string][]knative.Decision{
		"half-00001": {{
			Time: o.Time, Wanted: 2, Desired: 3, Panic: true, Stable: 2.9, PanicConcurrency: 7.25, Target: 2.8, ExcessBurst: -207,
			Reason: "7.2 requests in flight in the panic window, 2.8 aimed at for each replica",
		}},
		"other-00001": {{
			Time: o.Time, Wanted: 2, Desired: 2, Stable: 143, Target: 50,
			Reason: "the processors are used at 143 % of what is asked for, 50 % are aimed at",
		}},
	}
	if diff := cmp.Diff(want, o.Decisions); diff != "" {
		t.Errorf("decisions (-want +got):\n%s", diff)
	}
	if half := o.Services[0].Revisions[0]; half.Concurrency != 7.25 || !half.Panic || half.Ready != 1 || half.Wanted != 2 {
		t.Errorf("revision %+v", half)
	}
	if diff := cmp.Diff([]knative.Figure{knative.FigureQueue, knative.FigureRPS}, o.Unknown); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
}

// TestObserveWithLess asks a cluster without metrics-server and without the autoscaler's numbers: replicas are still known,
// and it is said what is not.
func TestObserveWithLess(t *testing.T) {
	t.Parallel()
	o, err := observed(nil).Observe(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if d := o.Decisions["half-00001"]; len(d) != 1 || d[0].Wanted != 2 || !strings.Contains(d[0].Reason, "not known") {
		t.Errorf("decisions %+v", d)
	}
	for _, f := range []knative.Figure{knative.FigureCPU, knative.FigureMemory, knative.FigureConcurrency} {
		if !slices.Contains(o.Unknown, f) {
			t.Errorf("%s is not among the unknown %v", f, o.Unknown)
		}
	}
	if notes := strings.Join(o.Notes, "\n"); strings.Count(notes, "nobody answers") != 2 {
		t.Errorf("notes do not say why:\n%s", notes)
	}
}
