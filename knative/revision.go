package knative

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/kmeta"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/reconciler/configuration/resources"
)

// DefaultNamespace is the namespace of a Service that names none.
const DefaultNamespace = metav1.NamespaceDefault

// RevisionName returns the name of the revision that the Service's template makes at a generation: the template's own
// name, or NAME-%05d.
func RevisionName(svc *servingv1.Service, generation int64) string {
	if svc.Spec.Template.Name != "" {
		return svc.Spec.Template.Name
	}
	return kmeta.ChildName(svc.Name, fmt.Sprintf("-%05d", generation))
}

// NewRevision makes the revision of the Service's template at a generation of its configuration, 1 for the first, with
// the labels that Knative sets. The routing state and the creation time are the caller's to keep. It shares nothing
// with the Service, which should have been through Prepare.
func NewRevision(svc *servingv1.Service, generation int64) (*servingv1.Revision, error) {
	if svc.Name == "" || generation < 1 {
		return nil, fmt.Errorf("revision of service %q at generation %d: both are required", svc.Name, generation)
	}
	rev := resources.MakeRevision(context.Background(), configuration(svc, generation), time.Time{})
	delete(rev.Labels, serving.RoutingStateLabelKey)
	delete(rev.Annotations, serving.RoutingStateModifiedAnnotationKey)
	rev.APIVersion, rev.Kind = servingv1.SchemeGroupVersion.String(), "Revision"
	return rev, nil
}

// configuration is what MakeConfiguration of reconciler/service makes of a Service, less what names the cluster's
// objects: importing it would pull in a cluster's client.
func configuration(svc *servingv1.Service, generation int64) *servingv1.Configuration {
	namespace := svc.Namespace
	if namespace == "" {
		namespace = DefaultNamespace
	}
	return &servingv1.Configuration{
		ObjectMeta: metav1.ObjectMeta{
			Name: svc.Name, Namespace: namespace, UID: svc.UID, Generation: generation,
			Labels: map[string]string{serving.ServiceLabelKey: svc.Name, serving.ServiceUIDLabelKey: string(svc.UID)},
		},
		Spec: *svc.Spec.ConfigurationSpec.DeepCopy(),
	}
}

// TemplateEqual says whether two templates make the same revision: if so, applying b after a creates none. Where the
// manifest lies, AnnotationLocalDir, is not part of it: take the newer one's.
func TemplateEqual(a, b *servingv1.RevisionTemplateSpec) bool {
	return equality.Semantic.DeepEqual(withoutDir(a), withoutDir(b))
}

func withoutDir(t *servingv1.RevisionTemplateSpec) *servingv1.RevisionTemplateSpec {
	t = t.DeepCopy()
	delete(t.Annotations, AnnotationLocalDir)
	return t
}

// CheckRevision says why the Service's template, whose name is that of a revision there is, does not make that revision
// again. A revision never changes: Knative refuses such a Service too (CheckNameAvailability of
// reconciler/configuration, VerifyNameChange of its webhook).
func CheckRevision(existing *servingv1.Revision, svc *servingv1.Service) error {
	made, err := NewRevision(svc, 1)
	if err != nil {
		return err
	}
	if existing.Name != made.Name {
		return nil
	}
	for key := range made.Annotations {
		if key != AnnotationLocalDir && existing.Annotations[key] != made.Annotations[key] {
			return fmt.Errorf("service %s: revision %s is there with another %s: give spec.template.metadata.name a new value", svc.Name, made.Name, key)
		}
	}
	if !equality.Semantic.DeepEqual(existing.Spec, made.Spec) {
		return fmt.Errorf("service %s: revision %s is there with another spec: give spec.template.metadata.name a new value", svc.Name, made.Name)
	}
	return nil
}
