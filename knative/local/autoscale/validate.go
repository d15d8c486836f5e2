package autoscale

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"knative.dev/pkg/apis"
	"knative.dev/pkg/kmap"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
)

// Validate says, all at once, what of the revision's scaling is invalid or cannot be honoured on one machine, and what
// to do about it. It takes Knative's default settings for granted; ValidateWith takes others.
func Validate(rev *servingv1.Revision) error {
	cfg, err := LoadConfig(nil)
	if err != nil {
		return err
	}
	return ValidateWith(rev, cfg)
}

// ValidateWith is Validate under the settings of a config-autoscaler.
func ValidateWith(rev *servingv1.Revision, cfg *autoscalerconfig.Config) error {
	ann := rev.Annotations
	problems := unknownAnnotations(ann)
	problems = append(problems, dishonoured(ann, cfg)...)
	// Knative checks the metric and the algorithm only beside an explicit class.
	checked := maps.Clone(ann)
	if checked == nil {
		checked = map[string]string{}
	}
	delete(checked, autoscaling.MetricAnnotationKey) // dishonoured says what to do
	checked[autoscaling.ClassAnnotationKey] = autoscaling.KPA
	if errs := autoscaling.ValidateAnnotations(context.Background(), cfg, checked).Filter(apis.ErrorLevel); errs != nil {
		for _, err := range errs.WrappedErrors() {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// dishonoured names the classes and metrics that need a cluster.
func dishonoured(ann map[string]string, cfg *autoscalerconfig.Config) []error {
	var problems []error
	class := cfg.PodAutoscalerClass
	if v, ok := ann[autoscaling.ClassAnnotationKey]; ok {
		class = v
	}
	if class != autoscaling.KPA {
		problems = append(problems, fmt.Errorf("%s: %q needs a cluster: leave it out, or say %s",
			autoscaling.ClassAnnotationKey, class, autoscaling.KPA))
	}
	switch metric, ok := ann[autoscaling.MetricAnnotationKey]; {
	case !ok, metric == autoscaling.Concurrency, metric == autoscaling.RPS:
	default:
		problems = append(problems, fmt.Errorf("%s: %q needs a cluster's horizontal pod autoscaler: say %s or %s",
			autoscaling.MetricAnnotationKey, metric, autoscaling.Concurrency, autoscaling.RPS))
	}
	return problems
}

// unknownAnnotations names what Knative would ignore in silence.
func unknownAnnotations(ann map[string]string) []error {
	var problems []error
	known := knownAnnotations()
	for _, key := range slices.Sorted(maps.Keys(ann)) {
		if strings.HasPrefix(key, autoscaling.GroupName+"/") && !slices.Contains(known, key) {
			problems = append(problems, fmt.Errorf("%s: Knative has no such annotation: it has %s", key, shortNames()))
		}
	}
	return problems
}

// annotations are all that Knative's autoscaler reads, each with its older spellings.
func annotations() []kmap.KeyPriority {
	return []kmap.KeyPriority{
		autoscaling.ActivationScale, autoscaling.ClassAnnotation, autoscaling.InitialScaleAnnotation,
		autoscaling.MaxScaleAnnotation, autoscaling.MetricAnnotation, autoscaling.MetricAggregationAlgorithmAnnotation,
		autoscaling.MinScaleAnnotation, autoscaling.PanicThresholdPercentageAnnotation,
		autoscaling.PanicWindowPercentageAnnotation, autoscaling.ScaleDownDelayAnnotation,
		autoscaling.ScaleToZeroPodRetentionPeriodAnnotation, autoscaling.TargetAnnotation,
		autoscaling.TargetBurstCapacityAnnotation, autoscaling.TargetUtilizationPercentageAnnotation,
		autoscaling.WindowAnnotation,
	}
}

func knownAnnotations() []string {
	var known []string
	for _, keys := range annotations() {
		known = append(known, keys...)
	}
	return known
}

func shortNames() string {
	var names []string
	for _, keys := range annotations() {
		names = append(names, strings.TrimPrefix(keys.Key(), autoscaling.GroupName+"/"))
	}
	return strings.Join(names, ", ")
}
