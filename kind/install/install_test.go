package install

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const manifest = `# a comment alone is no document
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: images.caching.internal.knative.dev}
spec: {group: caching.internal.knative.dev}
---
---
apiVersion: v1
kind: Namespace
metadata: {name: knative-serving}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-network, namespace: knative-serving}
data: {_example: text}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-domain, namespace: knative-serving}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-observability, namespace: knative-serving}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-features, namespace: knative-serving}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config-network, namespace: elsewhere}
---
apiVersion: caching.internal.knative.dev/v1alpha1
kind: Image
metadata: {name: queue-proxy, namespace: knative-serving}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: activator, namespace: knative-serving}
`

func TestReadAndSort(t *testing.T) {
	o := Options{
		Parts:  []Part{Serving},
		Source: func(context.Context, Part) ([]byte, error) { return []byte(manifest), nil },
		Edit:   func(o *Object) bool { return o.GetKind() != "HorizontalPodAutoscaler" },
		Domain: "example.test",
	}
	objects, err := o.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	custom := customGroups(objects)
	got := map[string]any{}
	for _, obj := range objects {
		got[label(obj)] = []any{stageOf(obj, custom), obj.Object["data"]}
	}
	want := map[string]any{
		"customresourcedefinition/images.caching.internal.knative.dev": []any{stageDefinitions, nil},
		"namespace/knative-serving":                                    []any{stageNamespaces, nil},
		"knative-serving configmap/config-network":                     []any{stageRest, map[string]any{"_example": "text", "ingress-class": "kourier.ingress.networking.knative.dev"}},
		"knative-serving configmap/config-domain":                      []any{stageRest, map[string]any{"example.test": ""}},
		"knative-serving configmap/config-observability":               []any{stageRest, map[string]any{"metrics-protocol": "prometheus"}},
		"knative-serving configmap/config-features": []any{stageRest, map[string]any{
			"kubernetes.podspec-persistent-volume-claim": "enabled", "kubernetes.podspec-persistent-volume-write": "enabled", "kubernetes.podspec-securitycontext": "enabled",
		}},
		"elsewhere configmap/config-network": []any{stageRest, nil},
		"knative-serving image/queue-proxy":  []any{stageCustom, nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadSaysWhichPart(t *testing.T) {
	for name, tc := range map[string]struct {
		data string
		err  error
	}{
		"no manifest": {err: errors.New("404")},
		"no YAML":     {data: "\tx"},
		"no name":     {data: "kind: Pod"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Parts: []Part{Kourier}, Source: func(context.Context, Part) ([]byte, error) { return []byte(tc.data), tc.err }}
			if _, err := o.read(t.Context()); err == nil || !strings.Contains(err.Error(), "kourier") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Only what passes by itself is tried again: a mistake is reported at once.
func TestPasses(t *testing.T) {
	resource := schema.GroupResource{Resource: "configmaps"}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"a webhook that starts": {apierrors.NewInternalError(errors.New("failed calling webhook")), true},
		"an overloaded server":  {apierrors.NewTooManyRequestsError("later"), true},
		"a refused field":       {apierrors.NewBadRequest("unknown field"), false},
		"no rights":             {apierrors.NewForbidden(resource, "x", errors.New("no")), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := passes(tc.err); got != tc.want {
				t.Errorf("passes(%v) = %v", tc.err, got)
			}
		})
	}
}

func TestPodReason(t *testing.T) {
	status := func(s corev1.PodStatus) *corev1.Pod { return &corev1.Pod{Status: s} }
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"no image": {status(corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"}}}}}), "ImagePullBackOff not found"},
		"ended": {status(corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Message: "panic"}}}}}), "ended with 2: panic"},
		"no place": {status(corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "Insufficient cpu"}}}), "Insufficient cpu"},
		"unknown": {status(corev1.PodStatus{Phase: corev1.PodPending}), "Pending"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := podReason(tc.pod); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// Every part has a pinned release.
func TestReleasesArePinned(t *testing.T) {
	for _, part := range []Part{Serving, HPA, Kourier, MetricsServer, Eventing} {
		if len(ReleaseFiles(part)) == 0 {
			t.Errorf("%s has no release", part)
		}
		for _, url := range ReleaseFiles(part) {
			if !strings.Contains(url, "/releases/download/") || strings.Contains(url, "latest") {
				t.Errorf("%s: %s", part, url)
			}
		}
	}
}
