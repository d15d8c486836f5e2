package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kourier's Service for requests from outside.
const (
	kourierNamespace = "kourier-system"
	kourierService   = "kourier"
)

// Router returns the URL of the Service of that name, which is the router's, and the host:port at which its requests
// are taken: at if it is not empty, else where the URL's name leads, else Kourier's address.
func (c *Client) Router(ctx context.Context, name, at string) (*url.URL, string, error) {
	svc, err := c.serving.Services(c.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, "", fmt.Errorf("there is no router in namespace %s (service %s): deploy it with: kubectl apply -k knative/overlays/kind", c.namespace, name)
	}
	if err != nil {
		return nil, "", c.explain(err, "read service "+name)
	}
	if svc.Status.URL == nil {
		return nil, "", fmt.Errorf("the router has no address yet: see weir status %s --on cluster", name)
	}
	u := svc.Status.URL.URL()
	port := cmp.Or(u.Port(), map[string]string{"https": "443"}[u.Scheme], "80")
	if at != "" {
		return u, withPort(at, port), nil
	}
	if found, err := net.DefaultResolver.LookupHost(ctx, u.Hostname()); err == nil && len(found) > 0 {
		return u, net.JoinHostPort(found[0], port), nil
	}
	gateway, err := c.kube.CoreV1().Services(kourierNamespace).Get(ctx, kourierService, metav1.GetOptions{})
	if err == nil {
		if host := gatewayHost(gateway); host != "" {
			return u, net.JoinHostPort(host, port), nil
		}
	}
	return nil, "", fmt.Errorf("the name %s leads nowhere and no ingress was found: give its address by --address, or make one with: kubectl -n %s port-forward svc/%s 8080:80",
		u.Hostname(), kourierNamespace, kourierService)
}

// withPort reads HOST, HOST:PORT or a URL of one of them as host:port.
func withPort(at, port string) string {
	if _, rest, ok := strings.Cut(at, "://"); ok {
		at = strings.TrimSuffix(rest, "/")
	}
	if _, _, err := net.SplitHostPort(at); err == nil {
		return at
	}
	return net.JoinHostPort(strings.Trim(at, "[]"), port)
}

// gatewayHost is where a load balancer takes requests; a cluster without one lets its own node do so.
func gatewayHost(svc *corev1.Service) string {
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if host := cmp.Or(in.IP, in.Hostname); host != "" {
			return host
		}
	}
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return ""
	}
	return svc.Spec.ClusterIP
}
