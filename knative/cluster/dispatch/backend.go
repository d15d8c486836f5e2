// Package dispatch is the router's backend on a cluster. It watches the Knative Services of models, their revisions and
// where these answer, and sends each request straight to the revision that the router chose: to one of its replicas, or
// to Knative's activator while there is none or while the activator is to keep the queue. These are the addresses that
// Knative's ingresses use (the endpoints of the revision's public Service), so nothing of Knative is left out of the way.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	discovery "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"knative.dev/serving/pkg/client/clientset/versioned"
	"knative.dev/serving/pkg/client/informers/externalversions"
	listers "knative.dev/serving/pkg/client/listers/serving/v1"

	"weir.dev/weir/internal/hop"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/knative/cluster/observe"
)

// Options of a Backend. Serving and Discovery are needed.
type Options struct {
	Serving   versioned.Interface
	Discovery discovery.DiscoveryV1Interface
	// Namespace holds the models. If empty, default.
	Namespace string
	// Log gets what a watch complains of, such as missing rights. The zero value writes nothing.
	Log zerolog.Logger
}

// Backend is a cluster's data path. It is safe for concurrent use.
type Backend struct {
	namespace string
	informers []cache.SharedIndexInformer
	seen      []cache.InformerSynced // that what was there at the start was handled
	services  listers.ServiceLister
	revisions listers.RevisionLister
	plain     *hop.Transport
	h2c       *http.Transport

	mu      sync.RWMutex
	changed chan struct{}
	targets map[string]*target // by revision
}

var _ knative.Backend = (*Backend)(nil)

// New makes a Backend. It knows nothing before Run.
func New(o Options) (*Backend, error) {
	if o.Namespace == "" {
		o.Namespace = knative.DefaultNamespace
	}
	models := func(l *metav1.ListOptions) { l.LabelSelector = knative.LabelModel }
	factory := externalversions.NewSharedInformerFactoryWithOptions(o.Serving, 0,
		externalversions.WithNamespace(o.Namespace), externalversions.WithTweakListOptions(models))
	services, revisions := factory.Serving().V1().Services(), factory.Serving().V1().Revisions()
	slices := sliceInformer(o.Discovery, o.Namespace, models)
	b := &Backend{
		namespace: o.Namespace,
		informers: []cache.SharedIndexInformer{services.Informer(), revisions.Informer(), slices},
		services:  services.Lister(), revisions: revisions.Lister(),
		plain: hop.New(server.NewTransport(false)), h2c: server.NewTransport(true),
		changed: make(chan struct{}), targets: map[string]*target{},
	}
	handlers := []func(any){func(any) { b.change() }, func(any) { b.change() }, func(obj any) { b.reach(slices.GetIndexer(), obj) }}
	for i, informer := range b.informers {
		handle := handlers[i]
		registered, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: handle, UpdateFunc: func(_, obj any) { handle(obj) }, DeleteFunc: handle,
		})
		if err := errors.Join(err, informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
			o.Log.Error().Err(err).Msg("what runs on the cluster cannot be watched")
		})); err != nil {
			return nil, fmt.Errorf("watch the cluster: %w", err)
		}
		b.seen = append(b.seen, registered.HasSynced)
	}
	return b, nil
}

func sliceInformer(client discovery.DiscoveryV1Interface, namespace string, tweak func(*metav1.ListOptions)) cache.SharedIndexInformer {
	slices := client.EndpointSlices(namespace)
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			tweak(&o)
			return slices.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			tweak(&o)
			return slices.Watch(ctx, o)
		},
	}
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(source, client), &discoveryv1.EndpointSlice{}, 0, cache.Indexers{byRevision: func(obj any) ([]string, error) {
		s, ok := obj.(*discoveryv1.EndpointSlice)
		if !ok || s.Labels[serving.RevisionLabelKey] == "" {
			return nil, nil
		}
		return []string{s.Labels[serving.RevisionLabelKey]}, nil
	}})
}

// Run watches until ctx ends.
func (b *Backend) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, informer := range b.informers {
		running.Go(func() { informer.RunWithContext(ctx) })
	}
	running.Wait()
	b.plain.CloseIdleConnections()
	b.h2c.CloseIdleConnections()
	return nil
}

// Status returns the models as the watches last saw them, sorted by name; it waits until they have begun. The load is
// what went through this process.
func (b *Backend) Status(ctx context.Context) ([]knative.ServiceStatus, error) {
	if !cache.WaitForCacheSync(ctx.Done(), b.seen...) {
		return nil, fmt.Errorf("watch the cluster: %w", ctx.Err())
	}
	services, err := b.services.Services(b.namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	revisions, err := b.revisions.Revisions(b.namespace).List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	of := map[string][]*servingv1.Revision{}
	for _, rev := range revisions {
		name := rev.Labels[serving.ServiceLabelKey]
		of[name] = append(of[name], rev)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	ready := make(map[string]int, len(b.targets))
	for name, t := range b.targets {
		ready[name] = t.ready
	}
	out := make([]knative.ServiceStatus, 0, len(services))
	for _, svc := range services {
		s := observe.Status(observe.Objects{Service: svc, Revisions: of[svc.Name], Ready: ready})
		for i := range s.Revisions {
			if t := b.targets[s.Revisions[i].Name]; t != nil {
				t.load(&s.Revisions[i])
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, c knative.ServiceStatus) int { return strings.Compare(a.Name, c.Name) })
	return out, nil
}

// Changed returns a channel that is closed at the next change of services, revisions or where these answer.
func (b *Backend) Changed() <-chan struct{} {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.changed
}

func (b *Backend) change() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changeLocked()
}

func (b *Backend) changeLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}
