package cluster

import (
	"errors"
	"fmt"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// explain says what of an API call failed and what to do. It returns nil for nil.
func (c *Client) explain(err error, doing string) error {
	var unanswered *url.Error
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: no rights in namespace %s: %w: ask the cluster's administrator for them, or choose another --context or --namespace", doing, c.namespace, err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the cluster does not know who asks: %w: renew the kubeconfig's credentials", doing, err)
	case apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) && apierrors.IsNotFound(err):
		return fmt.Errorf("%s: the cluster has no Knative Serving: install it with: weir cluster up", doing)
	case errors.As(err, &unanswered):
		return fmt.Errorf("%s: the cluster does not answer: %w: is it up, and is it the --context that is meant?", doing, unanswered.Err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
