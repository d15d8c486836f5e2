package dispatch

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	kubefake "k8s.io/client-go/kubernetes/fake"
	discovery "k8s.io/client-go/kubernetes/typed/discovery/v1"
	clienttesting "k8s.io/client-go/testing"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	servingfake "knative.dev/serving/pkg/client/clientset/versioned/fake"
	servingnet "knative.dev/serving/pkg/networking"

	"github.com/rs/zerolog"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/knative"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster that clientsets fake, and a Backend that watches it.
type world struct {
	*Backend
	serving *servingfake.Clientset
	kube    *kubefake.Clientset
}

// fakeDiscovery says, as fake clientsets do, that it cannot list by watching.
type fakeDiscovery struct{ discovery.DiscoveryV1Interface }

func (fakeDiscovery) IsWatchListSemanticsUnSupported() bool { return true }

func newWorld(t *testing.T, log io.Writer, prepare func(w world)) world {
	t.Helper()
	w := world{serving: servingfake.NewSimpleClientset(), kube: kubefake.NewClientset()}
	if prepare != nil {
		prepare(w)
	}
	// What is made between a list and its watch is lost on a fake, so nothing is made before.
	watching := make(chan struct{}, 10)
	watched := func(tracker clienttesting.ObjectTracker) clienttesting.WatchReactionFunc {
		return func(a clienttesting.Action) (bool, watch.Interface, error) {
			begun, err := tracker.Watch(a.GetResource(), a.GetNamespace())
			watching <- struct{}{}
			return true, begun, err
		}
	}
	w.serving.PrependWatchReactor("*", watched(w.serving.Tracker()))
	w.kube.PrependWatchReactor("*", watched(w.kube.Tracker()))
	var err error
	w.Backend, err = New(Options{Serving: w.serving, Discovery: fakeDiscovery{w.kube.DiscoveryV1()}, Namespace: "models", Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = w.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	for range 3 {
		if prepare == nil {
			soon.Next(t, "a watch", watching)
		}
	}
	return w
}

func labelled(name string) metav1.ObjectMeta {
	model, _, _ := strings.Cut(name, "-")
	return metav1.ObjectMeta{Name: name, Namespace: "models", Labels: map[string]string{knative.LabelModel: model, serving.ServiceLabelKey: model}}
}

// deploy makes a Service with one revision that has all its traffic.
func (w world) deploy(t *testing.T, model, revision string) {
	t.Helper()
	svc, all := &servingv1.Service{ObjectMeta: labelled(model)}, int64(100)
	svc.Status.Traffic = []servingv1.TrafficTarget{{RevisionName: revision, Percent: &all, Tag: "stable"}}
	for _, obj := range []runtime.Object{svc, &servingv1.Revision{ObjectMeta: labelled(revision)}} {
		if err := w.serving.Tracker().Add(obj); err != nil {
			t.Fatal(err)
		}
	}
}

// endpoints makes or changes an endpoint slice of a revision, as Knative and Kubernetes do.
func (w world) endpoints(t *testing.T, revision string, kind servingnet.ServiceType, port string, addresses ...string) {
	t.Helper()
	meta := labelled(revision + "-" + strings.ToLower(string(kind)))
	meta.Labels[serving.RevisionLabelKey], meta.Labels[servingnet.ServiceTypeKey] = revision, string(kind)
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta}
	https, no := int32(8112), false
	httpsName := networking.ServicePortNameHTTPS
	s.Ports = []discoveryv1.EndpointPort{{Name: &httpsName, Port: &https}}
	for _, a := range addresses {
		host, number, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.ParseInt(number, 10, 32)
		number32 := int32(n)
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: &port, Port: &number32})
		s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{host}}, {Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}}}
	}
	slices := w.kube.DiscoveryV1().EndpointSlices("models")
	if _, err := slices.Get(t.Context(), s.Name, metav1.GetOptions{}); err == nil {
		_, err = slices.Update(t.Context(), s, metav1.UpdateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	} else if _, err := slices.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// await waits for a state, from change to change.
func (w world) await(t *testing.T, what string, cond func([]knative.ServiceStatus) bool) []knative.ServiceStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		changed := w.Changed()
		all, err := w.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if cond(all) {
			return all
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("not seen: %s; it is %+v", what, all)
		}
	}
}

func (w world) ready(t *testing.T, model string, n int) []knative.ServiceStatus {
	t.Helper()
	return w.await(t, fmt.Sprintf("%s has %d replicas", model, n), func(all []knative.ServiceStatus) bool {
		for _, s := range all {
			if s.Name == model && len(s.Revisions) > 0 && s.Revisions[0].Ready == n {
				w.mu.RLock()
				defer w.mu.RUnlock()
				t := w.targets[s.Revisions[0].Name]
				return t != nil && len(t.places) > 0
			}
		}
		return false
	})
}

func post(ctx context.Context, w world, revision, path string, body io.Reader) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+revision+path, body)
	if err != nil {
		return nil, "", err
	}
	r.Host = "router.example.com"
	res, err := w.RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}
