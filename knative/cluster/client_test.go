package cluster

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	kubefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	servingfake "knative.dev/serving/pkg/client/clientset/versioned/fake"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

// world is a cluster that clientsets of Knative and Kubernetes fake.
type world struct {
	*Client
	serving *servingfake.Clientset
	kube    *kubefake.Clientset
}

func newWorld(servingObjects []runtime.Object, kubeObjects ...runtime.Object) world {
	s, k := servingfake.NewSimpleClientset(servingObjects...), kubefake.NewClientset(kubeObjects...)
	return world{New(s, k, "models"), s, k}
}

func service(name string) *servingv1.Service {
	return &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "models"}}
}

func revision(name, service string) *servingv1.Revision {
	return &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "models", Labels: map[string]string{serving.ServiceLabelKey: service}}}
}

// pod runs, and says so.
func pod(name, service, revision string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "models", Labels: map[string]string{serving.ServiceLabelKey: service, serving.RevisionLabelKey: revision},
	}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: functionContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return p
}

func TestApply(t *testing.T) {
	t.Parallel()
	w := newWorld(nil)
	svc := service("half")
	svc.Namespace, svc.Labels = "", map[string]string{knative.LabelModel: "half"}
	svc.Spec.Template.Name = "half-00001"
	if err := w.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	// Knative's webhook notes who made it, and refuses a change of that.
	made, err := w.serving.ServingV1().Services("models").Get(t.Context(), "half", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Annotations = map[string]string{serving.CreatorAnnotation: "ann"}
	if _, err := w.serving.ServingV1().Services("models").Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// Somebody else is faster the first time.
	conflicts := 1
	w.serving.PrependReactor("update", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
		conflicts--
		if conflicts < 0 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "services"}, "half", errors.New("changed"))
	})
	svc.Spec.Template.Name = "half-00002"
	if err := w.Apply(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	all, err := w.Services(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	want := service("half")
	want.Labels, want.Annotations = svc.Labels, map[string]string{serving.CreatorAnnotation: "ann"}
	want.Spec.Template.Name = "half-00002"
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	broken := pod("half-1-deployment-b", "half", "half-1")
	broken.Status = corev1.PodStatus{}
	w := newWorld([]runtime.Object{service("half"), service("digits"), revision("half-1", "half"), revision("digits-1", "digits")},
		pod("half-1-deployment-a", "half", "half-1"), broken)
	all, err := w.Status(t.Context())
	if err != nil || len(all) != 2 || all[0].Name != "digits" || len(all[1].Revisions) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	if r := all[1].Revisions[0]; r.Name != "half-1" || r.Ready != 1 || r.Starting != 1 || r.State != knative.StateReady {
		t.Errorf("%+v", r)
	}
	// Who may not read pods still sees services and revisions.
	w.kube.PrependReactor("list", "pods", refuse)
	if all, err = w.Status(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("without rights to pods: %+v, %v", all, err)
	}
}

func refuse(a clienttesting.Action) (bool, runtime.Object, error) {
	return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "", errors.New(`User "ann" cannot do that`))
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld([]runtime.Object{service("half"), service("digits"), revision("half-1", "half"), revision("digits-1", "digits")})
	// Knative's garbage collection takes a moment.
	lists := 0
	w.serving.PrependReactor("list", "revisions", func(clienttesting.Action) (bool, runtime.Object, error) {
		if lists++; lists == 2 {
			return false, nil, w.serving.Tracker().Delete(servingv1.SchemeGroupVersion.WithResource("revisions"), "models", "half-1")
		}
		return false, nil, nil
	})
	if err := w.Delete(t.Context(), "half"); err != nil || lists < 2 {
		t.Errorf("%v after %d lists", err, lists)
	}
	if err := w.Delete(t.Context(), "half"); err == nil || !strings.Contains(err.Error(), `no service "half" in namespace models: there is digits`) {
		t.Errorf("again: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Delete(ctx, "digits"); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "digits-1 not yet") {
		t.Errorf("not waited for: %v", err)
	}
}

// TestErrors says what is wrong and what to do.
func TestErrors(t *testing.T) {
	t.Parallel()
	absent := apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{Group: "serving.knative.dev", Resource: "services"}, "half", "404 page not found", 0, true)
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"no rights", apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "half", errors.New(`User "ann" cannot get`)), `no rights in namespace models: services "half" is forbidden: User "ann" cannot get: ask the cluster's administrator`},
		{"unknown user", apierrors.NewUnauthorized("who?"), "renew the kubeconfig's credentials"},
		{"no Knative", absent, "the cluster has no Knative Serving: install it with: weir cluster up"},
		{"no cluster", &url.Error{Op: "Get", URL: "https://x", Err: syscall.ECONNREFUSED}, "the cluster does not answer: connection refused: is it up"},
		{"refused by a webhook", apierrors.NewBadRequest("validation failed: spec"), "deploy service half: validation failed: spec"},
	} {
		w := newWorld(nil)
		w.serving.PrependReactor("*", "services", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, tt.err })
		if err := w.Apply(t.Context(), service("half")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant %s", tt.name, err, tt.want)
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	fresh := pod("half-2-pod", "half", "half-2")
	fresh.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}
	w := newWorld([]runtime.Object{service("half"), service("idle")}, pod("half-1-pod", "half", "half-1"), fresh, pod("other", "digits", "digits-1"))
	var out strings.Builder
	if err := w.Logs(t.Context(), "half", false, &out); err != nil || out.String() != "half-1-pod fake logs\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := w.Logs(t.Context(), "idle", false, &out); err == nil || !strings.Contains(err.Error(), "has no replica now") {
		t.Errorf("no replica: %v", err)
	}
	if err := w.Logs(t.Context(), "none", false, &out); err == nil || !strings.Contains(err.Error(), `no service "none"`) {
		t.Errorf("no service: %v", err)
	}
}

// TestFollow takes up a pod that comes later.
func TestFollow(t *testing.T) {
	t.Parallel()
	w := newWorld([]runtime.Object{service("half")}, pod("half-1-pod", "half", "half-1"))
	pods := watch.NewFake()
	w.kube.PrependWatchReactor("pods", clienttesting.DefaultWatchReactor(pods, nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan string, 2)
	done := make(chan error, 1)
	go func() { done <- w.Logs(ctx, "half", true, writer(func(line string) { seen <- line })) }()
	if line := soon.Next(t, "a line", seen); line != "half-1-pod fake logs\n" {
		t.Errorf("first line %q", line)
	}
	pods.Add(pod("half-2-pod", "half", "half-2")) // waits until it is watched
	if line := soon.Next(t, "a line", seen); line != "half-2-pod fake logs\n" {
		t.Errorf("second line %q", line)
	}
	cancel()
	pods.Stop() // as a client's watch does when its context ends
	if err := soon.Next(t, "the end of Logs", done); !errors.Is(err, context.Canceled) {
		t.Errorf("the end: %v", err)
	}
}

type writer func(line string)

func (w writer) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }

func TestRouter(t *testing.T) {
	t.Parallel()
	router := service("router")
	router.Status.URL = &apis.URL{Scheme: "http", Host: "router.models.invalid"}
	gateway := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: kourierService, Namespace: kourierNamespace}, Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.7"}}
	balanced := gateway.DeepCopy()
	balanced.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	local := service("router")
	local.Status.URL = &apis.URL{Scheme: "http", Host: "127.0.0.1:8081"}
	for _, tt := range []struct {
		name    string
		router  *servingv1.Service
		gateway []runtime.Object
		at      string
		want    string // the address, or a part of the error
	}{
		{"given", router, nil, "http://192.0.2.9:8080/", "192.0.2.9:8080"},
		{"given without a port", router, nil, "192.0.2.9", "192.0.2.9:80"},
		{"by name", local, nil, "", "127.0.0.1:8081"},
		{"load balancer", router, []runtime.Object{balanced}, "", "192.0.2.1:80"},
		{"no load balancer", router, []runtime.Object{gateway}, "", "10.0.0.7:80"},
		{"no ingress", router, nil, "", "leads nowhere and no ingress was found: give its address by --address"},
		{"no address yet", service("router"), nil, "", "the router has no address yet"},
		{"no router", service("half"), nil, "", "there is no router in namespace models"},
	} {
		w := newWorld([]runtime.Object{tt.router}, tt.gateway...)
		u, at, err := w.Router(t.Context(), "router", tt.at)
		if err != nil && !strings.Contains(err.Error(), tt.want) || err == nil && (at != tt.want || u.String() != tt.router.Status.URL.String()) {
			t.Errorf("%s: %v at %s, %v", tt.name, u, at, err)
		}
	}
}
