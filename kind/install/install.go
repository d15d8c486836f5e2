package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

// Part is one piece of what is installed.
type Part string

// The parts, in the order in which they are read.
const (
	Serving       Part = "serving"
	HPA           Part = "hpa"
	Kourier       Part = "kourier"
	MetricsServer Part = "metrics-server"
	Eventing      Part = "eventing"
)

// Options say what is installed and where.
type Options struct {
	// Config leads to the cluster.
	Config *rest.Config
	// Parts are what is installed.
	Parts []Part
	// Source gives the manifest of a part.
	Source func(ctx context.Context, part Part) ([]byte, error)
	// Edit changes an object before it is applied, as this cluster needs it; it returns false to leave it out.
	// If nil, nothing is changed.
	Edit func(o *Object) bool
	// Domain is that of Knative's addresses. If empty, it is left as it is.
	Domain string
	// Timeout is how long everything may take. If zero, 5 minutes.
	Timeout time.Duration
	// Say is told about each step. If nil, nobody is.
	Say func(format string, args ...any)
}

// Run installs the parts and waits until all of them are available.
func Run(ctx context.Context, o Options) error {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("not done after %s", o.Timeout))
	defer cancel()
	objects, err := o.read(ctx)
	if err != nil {
		return err
	}
	c, err := newClient(o.Config)
	if err != nil {
		return err
	}
	custom := customGroups(objects)
	byStage := make([][]*Object, stages)
	for _, obj := range objects {
		s := stageOf(obj, custom)
		byStage[s] = append(byStage[s], obj)
	}
	o.Say("applying %d objects", len(objects))
	if err := c.applyAll(ctx, byStage[stageDefinitions]); err != nil {
		return err
	}
	if err := c.waitEstablished(ctx, byStage[stageDefinitions]); err != nil {
		return err
	}
	for _, s := range []stage{stageNamespaces, stageRest} {
		if err := c.applyAll(ctx, byStage[s]); err != nil {
			return err
		}
	}
	if err := c.waitAvailable(ctx, byStage[stageRest], o.Say); err != nil {
		return err
	}
	return c.applyAll(ctx, byStage[stageCustom])
}

// read fetches, parses and edits the manifests.
func (o Options) read(ctx context.Context) ([]*Object, error) {
	var all []*Object
	for _, part := range o.Parts {
		data, err := o.Source(ctx, part)
		if err != nil {
			return nil, fmt.Errorf("the manifest of %s: %w", part, err)
		}
		objects, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("the manifest of %s: %w", part, err)
		}
		for _, obj := range objects {
			if err := o.configure(obj); err != nil {
				return nil, err
			}
			if o.Edit == nil || o.Edit(obj) {
				all = append(all, obj)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is nothing to install")
	}
	return all, nil
}

// configure sets what makes Serving use Kourier, the domain, that its autoscaler shows its numbers, which weir load puts
// into its report, and that a revision may keep the models it fetches in a volume that it shares.
func (o Options) configure(obj *Object) error {
	if obj.GetKind() != "ConfigMap" || obj.GetNamespace() != "knative-serving" {
		return nil
	}
	switch obj.GetName() {
	case "config-network":
		return unstructured.SetNestedField(obj.Object, "kourier.ingress.networking.knative.dev", "data", "ingress-class")
	case "config-observability":
		return unstructured.SetNestedField(obj.Object, "prometheus", "data", "metrics-protocol")
	case "config-features":
		for _, feature := range []string{"persistent-volume-claim", "persistent-volume-write", "securitycontext"} {
			if err := unstructured.SetNestedField(obj.Object, "enabled", "data", "kubernetes.podspec-"+feature); err != nil {
				return err
			}
		}
	case "config-domain":
		if o.Domain != "" {
			return unstructured.SetNestedField(obj.Object, "", "data", o.Domain)
		}
	}
	return nil
}
