package knative

import (
	"fmt"
	"strconv"

	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// The setting of batches: BatchAuto, which is the default, BatchOff or a number of rows.
const (
	// AnnotationBatch says how many requests a function runs together at most. How many requests a replica gets, and
	// when another replica is started, follow from it.
	AnnotationBatch = "weir.dev/batch"
	// EnvBatch tells the function.
	EnvBatch  = "WEIR_BATCH"
	BatchAuto = "auto"
	BatchOff  = "off"
)

// deriveBatch makes of AnnotationBatch what follows from it, where the manifest does not say otherwise: the function's
// environment, and a container concurrency of two batches, one that runs and one that forms. Knative then aims at 70 %
// of that, so that a batch fills before another replica is started.
func deriveBatch(t *servingv1.RevisionTemplateSpec) {
	text, ok := t.Annotations[AnnotationBatch]
	if !ok || len(t.Spec.Containers) == 0 {
		return
	}
	setEnv(&t.Spec.Containers[0], EnvBatch, text)
	if rows, err := strconv.ParseInt(text, 10, 32); err == nil && rows > 0 && t.Spec.ContainerConcurrency == nil {
		limit := 2 * rows
		t.Spec.ContainerConcurrency = &limit
	}
}

// batchRules refuse a batch that could never be full.
func batchRules(t *servingv1.RevisionTemplateSpec) []error {
	text, ok := t.Annotations[AnnotationBatch]
	if !ok || text == BatchAuto || text == BatchOff {
		return nil
	}
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("spec.template.metadata.annotations.%s: %q: %w", AnnotationBatch, text, fmt.Errorf(format, args...)))
	}
	rows, err := strconv.ParseInt(text, 10, 32)
	if err != nil || rows < 1 {
		add("it must be %s, %s or a whole number from 1", BatchAuto, BatchOff)
		return problems
	}
	if limit := t.Spec.ContainerConcurrency; limit != nil && *limit > 0 && rows > *limit {
		add("a replica gets at most %d requests at once (containerConcurrency), so a batch is never full: at most %[1]d, or a containerConcurrency of %d, or leave that out", *limit, 2*rows)
	}
	_, metric, ok := autoscaling.MetricAnnotation.Get(t.Annotations)
	if _, target, given := autoscaling.TargetAnnotation.Get(t.Annotations); given && (!ok || metric == autoscaling.Concurrency) {
		if aim, err := strconv.ParseFloat(target, 64); err == nil && aim < float64(rows) {
			add("another replica is started at %s requests for each (%s), before a batch is full: at most %[1]s, or a higher target, or leave that out", target, autoscaling.TargetAnnotationKey)
		}
	}
	return problems
}
