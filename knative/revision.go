package knative

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// RevisionName returns the name of the revision that the Service's template makes at a generation: the template's own
// name, or NAME-%05d.
func RevisionName(svc *servingv1.Service, generation int64) string {
	if svc.Spec.Template.Name != "" {
		return svc.Spec.Template.Name
	}
	return fmt.Sprintf("%s-%05d", svc.Name, generation)
}

// NewRevision makes the revision of the Service's template at a generation of its configuration, 1 for the first.
func NewRevision(svc *servingv1.Service, generation int64) (*servingv1.Revision, error) {
	rev := &servingv1.Revision{ObjectMeta: svc.Spec.Template.ObjectMeta, Spec: svc.Spec.Template.Spec}
	rev.Name = RevisionName(svc, generation)
	return rev, nil
}

// TemplateEqual says whether two templates make the same revision: if so, applying b after a creates none.
func TemplateEqual(a, b *servingv1.RevisionTemplateSpec) bool {
	return equality.Semantic.DeepEqual(a, b)
}
