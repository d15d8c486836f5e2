package knative

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestOverlayLater has one router, never two, that keeps events on a volume, sees the models, and may ask them and tell the sinks.
func TestOverlayLater(t *testing.T) {
	t.Parallel()
	o := overlay(t, "later")
	d := o.deployments["router-later"]
	if d == nil {
		t.Fatal("there is no deployment")
	}
	if d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || *d.Spec.Replicas != 1 {
		t.Errorf("a file of events has one owner: %d replicas, %s", *d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	if diff := cmp.Diff(restricted(), c.SecurityContext); diff != "" {
		t.Errorf("it is not restricted:\n%s", diff)
	}
	if router := o.services["router"].Spec.Template.Spec; c.Image != router.Containers[0].Image || pod.ServiceAccountName != router.ServiceAccountName {
		t.Errorf("image %s and account %s are not the router's", c.Image, pod.ServiceAccountName)
	}
	claim := pod.Volumes[0].PersistentVolumeClaim
	if claim == nil || o.claims[claim.ClaimName] == nil || o.claims[claim.ClaimName].Spec.StorageClassName != nil {
		t.Errorf("its volume is not one of the default class: %+v", pod.Volumes)
	}
	if m := c.VolumeMounts[0]; m.Name != pod.Volumes[0].Name || !slices.ContainsFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, "--events-file="+m.MountPath+"/") }) {
		t.Errorf("the events are not on the volume at %s: %v", m.MountPath, c.Args)
	}
	pods := labels.Set(d.Spec.Template.Labels)
	if !selects(t, d.Spec.Selector, pods) || !labels.SelectorFromSet(o.plain["router-later"].Spec.Selector).Matches(pods) {
		t.Errorf("the deployment or its Service does not select pods with %v", pods)
	}
	checkLimited(t, o, d.Name, pods)
	sinks, model := labels.Set{"weir.dev/event-sink": "true"}, labels.Set(o.services["digits"].Spec.Template.Labels)
	for _, to := range []labels.Set{sinks, model} {
		if !mayReach(t, o, pods, to) {
			t.Errorf("no policy lets it reach %v", to)
		}
	}
	if mayReach(t, o, pods, labels.Set{"app": "other"}) {
		t.Error("it may reach any pod")
	}
}

// mayReach says whether policies let pods send to others, and let these take it, on the ports of requests.
func mayReach(t *testing.T, o objects, from, to labels.Set) bool {
	t.Helper()
	names := func(peers []networkingv1.NetworkPolicyPeer, pods labels.Set) bool {
		return slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
			return p.PodSelector != nil && p.NamespaceSelector == nil && selects(t, p.PodSelector, pods)
		})
	}
	out, in := false, false
	for _, p := range o.policies {
		for _, e := range p.Spec.Egress {
			out = out || selects(t, &p.Spec.PodSelector, from) && len(e.Ports) == 0 && names(e.To, to)
		}
		for _, i := range p.Spec.Ingress {
			in = in || selects(t, &p.Spec.PodSelector, to) && len(i.Ports) == 0 && names(i.From, from)
		}
	}
	return out && in
}
