package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/kubernetes"

	"weir.dev/weir/kind/install"
	"weir.dev/weir/kind/node"
)

// Domain is that of every Service's address: sslip.io answers any such name with the address in it, so that the names
// work without a name server of one's own.
const Domain = "127.0.0.1.sslip.io"

// The ways to a cluster.
const (
	OnKind     = "kind"
	OnMinikube = "minikube"
	OnGKE      = "gke"
	OnNode     = "node"
	// OnContext is a cluster that is there already.
	OnContext = "context"
)

// Options say which cluster is meant and what it gets.
type Options struct {
	// On is the way to the cluster, one of the constants.
	On string
	// State is the folder of what is kept about the cluster.
	State string
	// Context is the context of the user's own kubeconfig, for OnContext.
	Context string
	// Eventing says whether Knative Eventing is installed.
	Eventing bool
	// GKE says where a cluster of OnGKE is.
	GKE GKE
	// Source and Listen are for OnNode: see node.Options.
	Source, Listen string
	// Say is told about each step.
	Say func(format string, args ...any)
}

// Info is how a cluster is reached.
type Info struct {
	On         string `json:"on"`
	Kubeconfig string `json:"kubeconfig"`
	Context    string `json:"context,omitempty"` // of the kubeconfig; if empty, its current one
	Registry   string `json:"registry"`          // where images are pushed to
	Ingress    string `json:"ingress"`           // host:port that all Services are reached at
	Domain     string `json:"domain"`            // NAME.NAMESPACE.Domain is a Service's host name
	Host       string `json:"host,omitempty"`    // where pods reach this machine, if that is known
	GKE        *GKE   `json:"gke,omitempty"`
	Ready      bool   `json:"ready"` // the API server answers
	// Usage is nil unless Status found that it answers; it is not kept.
	Usage *Usage `json:"usage,omitempty"`
}

// way is how the cluster is made; the kubeconfig is the one that the tool writes.
func (o Options) way(kubeconfig string) (way, error) {
	switch o.On {
	case OnKind:
		return onKind(kubeconfig), nil
	case OnMinikube:
		return onMinikube(kubeconfig), nil
	case OnGKE:
		if o.GKE.Project == "" || o.GKE.Location == "" {
			return way{}, errors.New("--on gke needs --project and --location: gcloud projects list, gcloud compute regions list")
		}
		return onGKE(kubeconfig, o.GKE), nil
	case OnContext:
		return way{metrics: true, edit: func(*install.Object) bool { return true }}, nil
	}
	return way{}, fmt.Errorf("--on %s: it is kind, minikube, gke or node", o.On)
}

// Up makes the cluster where it is missing and installs what weir needs; it may be run again.
func Up(ctx context.Context, o Options) (Info, error) {
	if o.On == OnNode {
		if err := node.Check(o.State); err != nil {
			return Info{}, err
		}
	}
	state, err := filepath.Abs(o.State)
	if err != nil {
		return Info{}, err
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return Info{}, err
	}
	info := Info{On: o.On, Kubeconfig: filepath.Join(state, "kubeconfig"), Domain: Domain}
	if o.On == OnNode {
		return upNode(ctx, o, info)
	}
	w, err := o.way(info.Kubeconfig)
	if err != nil {
		return info, err
	}
	if err := missingTools(w.tools); err != nil {
		return info, err
	}
	info.Registry, info.Ingress = w.registry, w.ingress
	if o.On == OnGKE {
		info.GKE = &o.GKE
	}
	if o.On == OnContext {
		info.Kubeconfig, info.Context = "", o.Context
	}
	// Before the first step: what a run that is cut off has made can be removed.
	if err := info.save(state); err != nil {
		return info, err
	}
	if err := runSteps(ctx, w.up, o.Say); err != nil {
		return info, err
	}
	config, err := info.config()
	if err != nil {
		return info, err
	}
	domain := ""
	if info.Ingress != "" {
		domain = Domain
	}
	err = install.Run(ctx, install.Options{
		Config: config, Parts: o.parts(w.metrics), Source: install.Releases, Edit: w.edit, Domain: domain, Say: o.Say,
	})
	if err != nil {
		return info, err
	}
	if info.Ingress == "" {
		address, err := install.UseIngressAddress(ctx, config, o.Say)
		if err != nil {
			return info, err
		}
		info.Ingress, info.Domain = address+":80", address+".sslip.io"
	}
	info.Ready = true
	return info, info.save(state)
}

// upNode starts the single node without Docker, whose images and manifests are built here.
func upNode(ctx context.Context, o Options, info Info) (Info, error) {
	// Before the first step: what a run that is cut off has made can be removed.
	if err := info.save(filepath.Dir(info.Kubeconfig)); err != nil {
		return info, err
	}
	n, err := node.Up(ctx, node.Options{State: o.State, Source: o.Source, Ingress: o.Listen, Say: o.Say})
	if err != nil {
		return info, err
	}
	info.Registry, info.Ingress, info.Host = n.Registry, n.Ingress, n.Host
	if err := info.save(filepath.Dir(info.Kubeconfig)); err != nil {
		return info, err
	}
	manifests, err := node.OpenManifests(n)
	if err != nil {
		return info, err
	}
	config, err := info.config()
	if err != nil {
		return info, err
	}
	if n.Restarted {
		if err := forgetPods(ctx, config); err != nil {
			return info, err
		}
	}
	info.Ready = true
	return info, install.Run(ctx, install.Options{
		Config: config,
		Parts:  append([]install.Part{node.Base}, o.parts(true)...),
		Source: manifests.Source,
		Edit:   manifests.Edit,
		Domain: Domain,
		Say:    o.Say,
	})
}

// parts are what weir needs on a cluster.
func (o Options) parts(metrics bool) []install.Part {
	parts := []install.Part{install.Serving, install.Kourier, install.HPA}
	if metrics {
		parts = append(parts, install.MetricsServer)
	}
	if o.Eventing {
		parts = append(parts, install.Eventing)
	}
	return parts
}

// Down removes the cluster of the state folder.
func Down(ctx context.Context, o Options) error {
	info, err := load(o.State)
	if err != nil {
		return err
	}
	switch info.On {
	case OnNode:
		if err := node.Down(ctx, node.Options{State: o.State, Say: o.Say}); err != nil && !errors.Is(err, node.ErrNone) {
			return err
		}
	case OnContext:
		return fmt.Errorf("the cluster of context %s was there before weir: remove it with the tool that made it", info.Context)
	default:
		o.On = info.On
		if info.GKE != nil {
			o.GKE = *info.GKE
		}
		w, err := o.way(info.Kubeconfig)
		if err != nil {
			return err
		}
		if err := errors.Join(missingTools(w.tools), runSteps(ctx, w.down, o.Say)); err != nil {
			return err
		}
	}
	for _, file := range []string{"kubeconfig", "cluster.json"} {
		if err := os.Remove(filepath.Join(o.State, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Status is how the cluster of the state folder is reached, whether it answers and, if so, how much of it is in use.
func Status(ctx context.Context, state string) (Info, error) {
	info, err := load(state)
	if err != nil {
		return info, err
	}
	config, err := info.config()
	if err != nil {
		return info, nil //nolint:nilerr // it was never up: the kubeconfig is not there
	}
	config.Timeout = 3 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return info, err
	}
	read := client.Discovery().RESTClient()
	if info.Ready = read.Get().AbsPath("/readyz").Do(ctx).Error() == nil; info.Ready {
		info.Usage = usageOf(ctx, client, func(ctx context.Context) ([]byte, error) {
			said := read.Get().AbsPath("/apis/metrics.k8s.io/v1beta1/nodes").Do(ctx)
			if err := said.Error(); err != nil {
				return nil, err // Raw's would not have the API server's words
			}
			return said.Raw()
		})
	}
	return info, nil
}

// Plan writes the commands that Up would run, as a shell script.
func Plan(w io.Writer, o Options) error {
	if o.On == OnNode {
		return errors.New("--on node runs no commands: weir cluster up says what it changes before it does")
	}
	kubectl := []string{"kubectl", "--kubeconfig", filepath.Join(o.State, "kubeconfig")}
	if o.On == OnContext {
		kubectl = []string{"kubectl", "--context", o.Context}
	}
	plan, err := o.way(filepath.Join(o.State, "kubeconfig"))
	if err != nil {
		return err
	}
	steps := plan.up
	for _, part := range o.parts(plan.metrics) {
		for _, url := range install.ReleaseFiles(part) {
			steps = append(steps, step{why: string(part), args: slices.Concat(kubectl, []string{"apply", "--server-side", "-f", url})})
		}
	}
	return printSteps(w, append(steps, plan.settings(kubectl)...))
}
