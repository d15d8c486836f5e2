package kind

import (
	"context"

	"k8s.io/client-go/tools/clientcmd"

	"weir.dev/weir/kind/install"
	"weir.dev/weir/kind/node"
)

// Domain is that of every Service's address: sslip.io answers any such name with the address in it, so that the names
// work without a name server of one's own.
const Domain = "127.0.0.1.sslip.io"

// parts are what weir needs on a cluster.
func parts(eventing bool) []install.Part {
	all := []install.Part{install.Serving, install.Kourier, install.HPA, install.MetricsServer}
	if eventing {
		all = append(all, install.Eventing)
	}
	return all
}

// UpNode starts the single node without Docker and installs what weir needs.
func UpNode(ctx context.Context, o node.Options, eventing bool) (node.Info, error) {
	info, err := node.Up(ctx, o)
	if err != nil {
		return info, err
	}
	manifests, err := node.OpenManifests(info)
	if err != nil {
		return info, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", info.Kubeconfig)
	if err != nil {
		return info, err
	}
	return info, install.Run(ctx, install.Options{
		Config: config,
		Parts:  append([]install.Part{node.Base}, parts(eventing)...),
		Source: manifests.Source,
		Edit:   manifests.Edit,
		Domain: Domain,
		Say:    o.Say,
	})
}
