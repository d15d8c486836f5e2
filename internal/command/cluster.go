package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir.dev/weir/kind"
	"weir.dev/weir/kind/node"
)

// clusterOptions are the flags that the subcommands of weir cluster share.
type clusterOptions struct {
	on    string
	state string
}

func (e *env) cluster() *cobra.Command {
	var o clusterOptions
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Make a Kubernetes cluster that has what weir needs, and remove it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&o.on, "on", "node", "where the cluster runs: node")
	f.StringVar(&o.state, "state", "build/cluster", "folder of the cluster's kubeconfig and, on node, of all it keeps")
	cmd.AddCommand(e.clusterUp(&o), e.clusterDown(&o), e.clusterStatus(&o), e.clusterKeep(&o), e.clusterInit())
	return cmd
}

func (e *env) clusterUp(o *clusterOptions) *cobra.Command {
	var source, listen string
	var eventing bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster with Knative, or repair one",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, err := kind.UpNode(cmd.Context(), node.Options{State: o.state, Source: source, Ingress: listen, Say: e.say}, eventing)
			if err != nil {
				return err
			}
			return printNode(e.out, info)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:80", "on node: address on this machine that leads to the cluster's ingress")
	f.StringVar(&source, "source", ".", "on node: checkout of weir that its programs are built from")
	f.BoolVar(&eventing, "eventing", true, "install Knative Eventing, too")
	return cmd
}

func (e *env) clusterDown(o *clusterOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything it made",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return node.Down(cmd.Context(), node.Options{State: o.state, Say: e.say})
		},
	}
}

func (e *env) clusterStatus(o *clusterOptions) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the cluster is reached and whether it runs",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, err := node.Status(node.Options{State: o.state})
			if err != nil {
				return err
			}
			if out == outputJSON {
				return printJSON(e.out, info)
			}
			return printNode(e.out, info)
		},
	}
	outputFlag(cmd, &out, outputTable, outputJSON)
	return cmd
}

// clusterKeep and clusterInit are processes of the node, not for people.
func (e *env) clusterKeep(o *clusterOptions) *cobra.Command {
	return &cobra.Command{
		Use: "keep", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return node.Keep(cmd.Context(), o.state) },
	}
}

func (e *env) clusterInit() *cobra.Command {
	return &cobra.Command{
		Use: "init", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return node.Init() },
	}
}

func printNode(w io.Writer, info node.Info) error {
	state := "running"
	if !info.Running {
		state = "stopped"
	}
	_, err := fmt.Fprintf(w, "state       %s\nkubeconfig  %s\nregistry    %s\ningress     http://%s\nlogs        %s\n",
		state, info.Kubeconfig, info.Registry, info.Ingress, info.Logs)
	return err
}

// say tells about one step.
func (e *env) say(format string, args ...any) { fmt.Fprintf(e.err, format+"\n", args...) }
