package autoscale

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	autoscalingv1alpha1 "knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
)

// podAutoscaler is resources.MakePA of reconciler/revision, less what only Kubernetes needs: importing it would pull in
// a cluster's client.
func podAutoscaler(rev *servingv1.Revision) *autoscalingv1alpha1.PodAutoscaler {
	return &autoscalingv1alpha1.PodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{
			Name: rev.Name, Namespace: rev.Namespace, UID: types.UID(rev.Name),
			Labels: maps.Clone(rev.Labels), Annotations: maps.Clone(rev.Annotations),
		},
		Spec: autoscalingv1alpha1.PodAutoscalerSpec{
			ContainerConcurrency: rev.Spec.GetContainerConcurrency(),
			Reachability:         autoscalingv1alpha1.ReachabilityUnknown,
		},
	}
}

// targetBurst is resolveTBC of kpa.go.
func targetBurst(pa *autoscalingv1alpha1.PodAutoscaler, cfg *autoscalerconfig.Config) float64 {
	if v, ok := pa.TargetBC(); ok {
		return v
	}
	return cfg.TargetBurstCapacity
}

// scrapeTarget is resolveScrapeTarget of kpa.go. It is never scraped, but the collector takes an empty name for "all
// requests are counted by the activator", where no data means no requests.
func scrapeTarget(pa *autoscalingv1alpha1.PodAutoscaler, cfg *autoscalerconfig.Config) string {
	if targetBurst(pa, cfg) == -1 {
		return ""
	}
	return pa.Name
}
