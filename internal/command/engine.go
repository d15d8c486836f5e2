package command

import (
	"cmp"
	"context"
	"net/url"

	"github.com/spf13/cobra"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/cluster"
	"weir.dev/weir/knative/cluster/kubeconfig"
	"weir.dev/weir/knative/local"
)

// The engines that --on names.
const (
	onLocal   = "local"
	onCluster = "cluster"
)

// routerService is the name of the router's own Service in the manifests.
const routerService = "router"

// place is where a command's services run: the flags that say which engine.
type place struct {
	on string
	kubeconfig.Options
}

// engine is an engine with a way in for requests.
type engine interface {
	knative.Engine
	// Router returns the router's URL, and the host:port that answers for its host: at, if it is not empty.
	Router(ctx context.Context, at string) (*url.URL, string, error)
}

// placeFlags adds the flags that choose the engine.
func placeFlags(cmd *cobra.Command, p *place) {
	f := cmd.Flags()
	f.StringVar(&p.on, "on", onLocal, "where it runs: local, which is the weir up of this machine, or cluster")
	f.StringVar(&p.Kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default $KUBECONFIG, else ~/.kube/config)")
	f.StringVar(&p.Context, "context", "", "context of the kubeconfig (default its current one)")
	f.StringVarP(&p.Namespace, "namespace", "n", "", "namespace of the services on the cluster (default the context's)")
	checkFlags(cmd, func(cmd *cobra.Command) error {
		if p.on != onLocal && p.on != onCluster {
			return usagef(cmd, "--on %q is unknown: it is local or cluster", p.on)
		}
		for _, name := range []string{"kubeconfig", "context", "namespace"} {
			if p.on == onLocal && cmd.Flags().Changed(name) {
				return usagef(cmd, "--%s is for --on cluster", name)
			}
		}
		return nil
	})
}

// dial finds the engine that the flags mean.
func (e *env) dial(p place) (engine, error) {
	if p.on == onCluster {
		client, err := cluster.Dial(p.Options)
		if err != nil {
			return nil, err
		}
		return onACluster{client}, nil
	}
	client, err := local.Dial(e.state)
	if err != nil {
		return nil, err
	}
	return onThisMachine{client}, nil
}

type onThisMachine struct{ *local.Client }

func (m onThisMachine) Router(_ context.Context, at string) (*url.URL, string, error) {
	return &url.URL{Scheme: "http", Host: m.Address()}, cmp.Or(at, m.Address()), nil
}

type onACluster struct{ *cluster.Client }

func (c onACluster) Router(ctx context.Context, at string) (*url.URL, string, error) {
	return c.Client.Router(ctx, routerService, at)
}
