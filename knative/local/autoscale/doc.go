// Package autoscale decides how many replicas one revision wants: Knative's own decider (knative.dev/serving's
// scaling.New(...).Scale on its metrics.MetricCollector) and, around it, the rules of
// knative.dev/serving/pkg/reconciler/autoscaling/kpa/scaler.go about bounds and zero. Time is an argument; the package
// starts no goroutine, does no I/O and knows nothing of processes or pods.
package autoscale
