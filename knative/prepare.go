package knative

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
	"weir.dev/weir/knative/local/autoscale"
)

// WithAutoscaler returns a context in which Prepare takes the settings of a config-autoscaler instead of Knative's
// defaults.
func WithAutoscaler(ctx context.Context, cfg *autoscalerconfig.Config) context.Context {
	c := *config.FromContextOrDefaults(ctx)
	c.Autoscaler = cfg
	return config.ToContext(ctx, &c)
}

// Prepare fills in Knative's defaults and validates as Knative's webhook does, then the autoscaling annotations and
// weir's own rules, all problems at once. Within apis.WithinUpdate the change is validated too: a template that changes
// must not keep its name. Warnings are Knative's own, about defaults that are insecure. What one machine cannot honour
// besides is ValidateLocal's.
func Prepare(ctx context.Context, svc *servingv1.Service) (warnings []string, err error) {
	cfg := withFeatures(config.FromContextOrDefaults(ctx))
	ctx = config.ToContext(ctx, cfg)
	svc.APIVersion, svc.Kind = servingv1.SchemeGroupVersion.String(), "Service"
	deriveBatch(&svc.Spec.Template)
	// Always as for a new Service, without an update's baseline: a manifest is whole, and the same one must make the same
	// template twice.
	svc.SetDefaults(apis.WithinCreate(config.ToContext(context.Background(), cfg)))

	// The scaling annotations are left to autoscale, which says more about them.
	bare := svc.DeepCopy()
	maps.DeleteFunc(bare.Spec.Template.Annotations, func(key, _ string) bool {
		return strings.HasPrefix(key, autoscaling.GroupName+"/")
	})
	found := bare.Validate(ctx)
	for _, warning := range found.Filter(apis.WarningLevel).WrappedErrors() {
		warnings = append(warnings, warning.Error())
	}
	var problems []error
	for _, problem := range found.Filter(apis.ErrorLevel).WrappedErrors() {
		problems = append(problems, problem)
	}
	rev := &servingv1.Revision{ObjectMeta: svc.Spec.Template.ObjectMeta, Spec: svc.Spec.Template.Spec}
	if err := autoscale.ValidateWith(rev, cfg.Autoscaler); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, ownRules(svc)...)
	if err := errors.Join(problems...); err != nil {
		return warnings, fmt.Errorf("service %s: %w", svc.Name, err)
	}
	return warnings, nil
}

// withFeatures allows what weir cluster up sets in config-features: a cache of models that replicas share. A cluster that
// somebody else set up may refuse it, and says so.
func withFeatures(cfg *config.Config) *config.Config {
	c, features := *cfg, *cfg.Features
	features.PodSpecPersistentVolumeClaim, features.PodSpecPersistentVolumeWrite = config.Enabled, config.Enabled
	features.PodSpecSecurityContext = config.Enabled
	c.Features = &features
	return &c
}

// ownRules are those that Knative does not have.
func ownRules(svc *servingv1.Service) []error {
	var problems []error
	t := &svc.Spec.Template
	if n := len(t.Spec.Containers); n > 1 {
		problems = append(problems, fmt.Errorf("spec.template.spec.containers: %d containers: a revision is one container, leave the others out", n))
	}
	model, onService := svc.Labels[LabelModel]
	templateModel, onTemplate := t.Labels[LabelModel]
	if onService && model != svc.Name {
		problems = append(problems, fmt.Errorf("metadata.labels.%s: %q: a model has its Service's name, %q", LabelModel, model, svc.Name))
	}
	if onService != onTemplate || templateModel != model {
		problems = append(problems, fmt.Errorf("metadata.labels and spec.template.metadata.labels must both have %s: %s, or neither", LabelModel, svc.Name))
	}
	problems = append(problems, batchRules(t)...)
	return append(problems, annotationRules(t.Annotations, onService)...)
}

func annotationRules(ann map[string]string, model bool) []error {
	var problems []error
	add := func(key, format string, args ...any) {
		problems = append(problems, fmt.Errorf("spec.template.metadata.annotations.%s: %w", key, fmt.Errorf(format, args...)))
	}
	if v, ok := ann[AnnotationVersion]; ok {
		if n, err := strconv.ParseInt(v, 10, 64); err != nil || n < 1 {
			add(AnnotationVersion, "%q: it must be a whole number from 1", v)
		}
	}
	if v, ok := ann[AnnotationImages]; ok && v != "true" && v != "false" {
		add(AnnotationImages, `%q: it must be "true" or "false"`, v)
	}
	if v, ok := ann[AnnotationEventTypes]; ok && slices.ContainsFunc(strings.Split(v, ","), func(s string) bool { return strings.TrimSpace(s) == "" }) {
		add(AnnotationEventTypes, "%q: it must be CloudEvents types with a comma between them", v)
	}
	if v, ok := ann[AnnotationLocalCommand]; ok {
		// Relative paths are resolved when the folder is known.
		t := &servingv1.RevisionTemplateSpec{}
		t.Annotations = map[string]string{AnnotationLocalCommand: v, AnnotationLocalDir: "/"}
		if _, err := LocalCommand(t); err != nil {
			problems = append(problems, fmt.Errorf("spec.template.metadata.annotations.%w", err))
		} else if model && v == CommandRouter {
			add(AnnotationLocalCommand, "%s is no model: leave out the label %s", CommandRouter, LabelModel)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ann)) {
		if unknownOwn(key) {
			add(key, "weir has no such annotation: it has %s", strings.Join(ownAnnotations(), ", "))
		}
	}
	return problems
}

// ownAnnotations are those of weir on a template.
func ownAnnotations() []string {
	return []string{AnnotationVersion, AnnotationImages, AnnotationEventTypes, AnnotationBatch, AnnotationLocalCommand, AnnotationLocalDir}
}

func unknownOwn(key string) bool {
	group, _, ok := strings.Cut(key, "/")
	return ok && (group == "weir.dev" || group == "local.weir.dev") && !slices.Contains(ownAnnotations(), key)
}
