package knative

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/autoscaling"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// objects are what `kubectl apply -k` of an overlay would apply, read strictly.
type objects struct {
	services map[string]*servingv1.Service
	accounts map[string]*corev1.ServiceAccount
	roles    map[string]*rbacv1.Role
	bindings map[string]*rbacv1.RoleBinding
	policies map[string]*networkingv1.NetworkPolicy
	// What stands beside the Services of Knative.
	deployments map[string]*appsv1.Deployment
	plain       map[string]*corev1.Service
	claims      map[string]*corev1.PersistentVolumeClaim
}

func overlay(t *testing.T, name string) objects {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("overlays", name))
	if err != nil {
		t.Fatal(err)
	}
	o := objects{
		map[string]*servingv1.Service{}, map[string]*corev1.ServiceAccount{}, map[string]*rbacv1.Role{},
		map[string]*rbacv1.RoleBinding{}, map[string]*networkingv1.NetworkPolicy{},
		map[string]*appsv1.Deployment{}, map[string]*corev1.Service{}, map[string]*corev1.PersistentVolumeClaim{},
	}
	for _, res := range made.Resources() {
		text, err := res.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		kind := res.GetKind()
		if kind == "Service" && res.GetGvk().Group == "" {
			kind = "Kubernetes' own Service"
		}
		switch id := res.GetName(); kind {
		case "Service":
			o.services[id] = strictly[servingv1.Service](t, text)
		case "Kubernetes' own Service":
			o.plain[id] = strictly[corev1.Service](t, text)
		case "Deployment":
			o.deployments[id] = strictly[appsv1.Deployment](t, text)
		case "PersistentVolumeClaim":
			o.claims[id] = strictly[corev1.PersistentVolumeClaim](t, text)
		case "ServiceAccount":
			o.accounts[id] = strictly[corev1.ServiceAccount](t, text)
		case "Role":
			o.roles[id] = strictly[rbacv1.Role](t, text)
		case "RoleBinding":
			o.bindings[id] = strictly[rbacv1.RoleBinding](t, text)
		case "NetworkPolicy":
			o.policies[id] = strictly[networkingv1.NetworkPolicy](t, text)
		default:
			t.Errorf("overlay %s has a %s", name, res.GetKind())
		}
	}
	return o
}

func strictly[T any](t *testing.T, text []byte) *T {
	t.Helper()
	v := new(T)
	if err := yaml.UnmarshalStrict(text, v); err != nil {
		t.Errorf("%v:\n%s", err, text)
	}
	return v
}

// TestOverlays holds every overlay's Services against Knative's own validation, and against what a cluster's overlay
// promises: restricted pods under an account of their own that exists, limited by a network policy.
func TestOverlays(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("overlays")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := overlay(t, name)
			want := []string{"digits", "embed", "imagenet", "router"}
			for id, svc := range o.services {
				if i := slices.Index(want, id); i >= 0 {
					want = slices.Delete(want, i, i+1)
				}
				svc.SetDefaults(apis.WithinCreate(context.Background()))
				if found := svc.Validate(context.Background()); found != nil {
					t.Errorf("%s: %v", id, found)
				}
				if name != "local" {
					checkPod(t, o, svc)
				}
			}
			if len(want) > 0 {
				t.Errorf("without %v", want)
			}
		})
	}
}

func checkPod(t *testing.T, o objects, svc *servingv1.Service) {
	t.Helper()
	spec := svc.Spec.Template.Spec
	if diff := cmp.Diff(restricted(), spec.Containers[0].SecurityContext); diff != "" {
		t.Errorf("%s is not restricted:\n%s", svc.Name, diff)
	}
	account := o.accounts[spec.ServiceAccountName]
	if account == nil {
		t.Errorf("%s: the account %q is not there", svc.Name, spec.ServiceAccountName)
	} else if token := account.AutomountServiceAccountToken; svc.Name != "router" && (token == nil || *token || *spec.AutomountServiceAccountToken) {
		t.Errorf("%s has the account's token in its pods", svc.Name)
	}
	podLabels := labels.Set{serving.ServiceLabelKey: svc.Name}
	for k, v := range svc.Spec.Template.Labels {
		podLabels[k] = v
	}
	checkLimited(t, o, svc.Name, podLabels)
}

// checkLimited wants policies for both directions of pods.
func checkLimited(t *testing.T, o objects, name string, pods labels.Set) {
	t.Helper()
	limited := map[networkingv1.PolicyType]bool{}
	for _, p := range o.policies {
		for _, direction := range p.Spec.PolicyTypes {
			limited[direction] = limited[direction] || selects(t, &p.Spec.PodSelector, pods)
		}
	}
	if !limited[networkingv1.PolicyTypeIngress] || !limited[networkingv1.PolicyTypeEgress] {
		t.Errorf("%s is limited in %v only", name, limited)
	}
}

func selects(t *testing.T, s *metav1.LabelSelector, pods labels.Set) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(pods)
}

// TestOverlayRights has nothing written by anybody, and rights for the router alone.
func TestOverlayRights(t *testing.T) {
	t.Parallel()
	o := overlay(t, "kind")
	for id, role := range o.roles {
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				if verb != "get" && verb != "list" && verb != "watch" {
					t.Errorf("role %s may %s %v", id, verb, rule.Resources)
				}
			}
		}
	}
	if len(o.bindings) != 1 {
		t.Errorf("%d bindings, want the router's", len(o.bindings))
	}
	for id, b := range o.bindings {
		if o.roles[b.RoleRef.Name] == nil || len(b.Subjects) != 1 || b.Subjects[0].Name != "weir-router" {
			t.Errorf("binding %s: role %s for %v", id, b.RoleRef.Name, b.Subjects)
		}
	}
}

// TestOverlayNext makes of imagenet's first manifest what the second one says.
func TestOverlayNext(t *testing.T) {
	t.Parallel()
	got := overlay(t, "next").services["imagenet"]
	services, err := Load("31-imagenet-lite2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := services[0]
	delete(want.Spec.Template.Annotations, AnnotationLocalDir)
	want.Spec.Template.Spec.Containers[0].Image = "localhost:5001/weir/imagenet"
	want.Spec.Template.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("250m")
	no := false
	want.Spec.Template.Spec.ServiceAccountName, want.Spec.Template.Spec.AutomountServiceAccountToken = "weir-model", &no
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("imagenet (-31-imagenet-lite2.yaml +overlay next):\n%s", diff)
	}
}

// TestOverlayHPA has the horizontal pod autoscaler at 50 % of a model's CPU and 90 % of the router's.
func TestOverlayHPA(t *testing.T) {
	t.Parallel()
	services := overlay(t, "hpa").services
	for id, target := range map[string]string{"imagenet": "50", "router": "90"} {
		ann := services[id].Spec.Template.Annotations
		got := []string{ann[autoscaling.ClassAnnotationKey], ann[autoscaling.MetricAnnotationKey], ann[autoscaling.TargetAnnotationKey], ann[autoscaling.MinScaleAnnotationKey]}
		if diff := cmp.Diff([]string{autoscaling.HPA, autoscaling.CPU, target, "1"}, got); diff != "" {
			t.Errorf("%s:\n%s", id, diff)
		}
	}
}

// TestKustomize reads an overlay for one machine: the same Services as the folder's manifests have, up to imagenet's
// second revision.
func TestKustomize(t *testing.T) {
	t.Parallel()
	got, err := Kustomize("overlays/local")
	if err != nil {
		t.Fatal(err)
	}
	all, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	byName := func(services []*servingv1.Service) map[string]*servingv1.Service {
		m := map[string]*servingv1.Service{}
		for _, s := range services {
			if err := ValidateLocal(s); err != nil {
				t.Error(err)
			}
			if s.Spec.Template.Name != "imagenet-lite2" {
				m[s.Name] = s
			}
		}
		return m
	}
	if diff := cmp.Diff(byName(all), byName(got)); diff != "" {
		t.Errorf("services (-manifests +overlay):\n%s", diff)
	}
}

func TestKustomizeRefuses(t *testing.T) {
	t.Parallel()
	broken := t.TempDir()
	text := "resources: [service.yaml]\n"
	service := "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: m}\nspec:\n  template:\n    spec:\n      containers: [{imgae: m}]\n"
	for file, content := range map[string]string{"kustomization.yaml": text, "service.yaml": service} {
		if err := os.WriteFile(filepath.Join(broken, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for dir, says := range map[string]string{
		"overlays/kind": "kind NetworkPolicy of networking.k8s.io/v1: only kind Service",
		"no/such/dir":   "no such file",
		"testdata":      "kustomization.yaml",
		broken:          `unknown field "spec.template.spec.containers[0].imgae"`,
	} {
		if _, err := Kustomize(dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q in it", dir, err, says)
		}
	}
}
