package install

import (
	"context"
	"fmt"
	"net"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// ingressLimit is how long a load balancer may take to give the ingress an address.
const ingressLimit = 5 * time.Minute

// UseIngressAddress waits for the address that the cluster gives Kourier and makes Knative's domain of it, by way of
// sslip.io. It returns the address.
func UseIngressAddress(ctx context.Context, config *rest.Config, say func(string, ...any)) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	say("waiting for the ingress's address")
	ctx, cancel := context.WithTimeoutCause(ctx, ingressLimit, fmt.Errorf("the ingress has no address after %s: does the cluster have load balancers?", ingressLimit))
	defer cancel()
	var address string
	err = wait.PollUntilContextCancel(ctx, 2*time.Second, true, func(ctx context.Context) (bool, error) {
		svc, err := client.CoreV1().Services("kourier-system").Get(ctx, "kourier", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		address = externalAddress(ctx, svc)
		return address != "", nil
	})
	if err != nil {
		return "", context.Cause(ctx)
	}
	patch := fmt.Sprintf(`{"data": {"%s.sslip.io": ""}}`, address)
	_, err = client.CoreV1().ConfigMaps("knative-serving").Patch(ctx, "config-domain", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fieldManager})
	return address, err
}

// externalAddress is a Service's address outside the cluster; some clouds give a name instead.
func externalAddress(ctx context.Context, svc *corev1.Service) string {
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			return in.IP
		}
		if addresses, err := net.DefaultResolver.LookupIP(ctx, "ip4", in.Hostname); err == nil && len(addresses) > 0 {
			return addresses[0].String()
		}
	}
	return ""
}
