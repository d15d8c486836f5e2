// Package autoscale decides how many replicas one revision wants. The decider is Knative's own:
// knative.dev/serving's scaling.New(...).Scale on its metrics.MetricCollector, with its windows, its panic mode and its
// scale-down delay. Around it stand the rules of knative.dev/serving/pkg/reconciler/autoscaling/kpa about bounds and
// zero (scaler.go and computeActiveCondition of kpa.go), which are tied to Kubernetes objects there and are kept here
// under the same names.
//
// Time is an argument; the package does no I/O and knows nothing of processes or pods.
package autoscale
