package command

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"weir.dev/weir/kind"
	"weir.dev/weir/kind/node"
)

func (e *env) cluster() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Make a Kubernetes cluster with Knative and all that weir needs, and remove it",
		Example: `  sudo bin/weir cluster up --on node        # this Linux machine, without Docker
  bin/weir cluster up --on kind
  bin/weir cluster up --on gke --project my-project --location europe-west1 --dry-run
  bin/weir cluster up --context my-cluster  # a cluster that is there
  export KUBECONFIG=$PWD/build/cluster/kubeconfig`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&state, "state", "build/cluster", "folder of the cluster's kubeconfig and, on node, of all it keeps")
	cmd.AddCommand(e.clusterUp(&state), e.clusterBuild(), e.clusterDown(&state), e.clusterStatus(&state), e.clusterKeep(&state), e.clusterInit())
	return cmd
}

func (e *env) clusterUp(state *string) *cobra.Command {
	o := kind.Options{Say: e.say}
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make a cluster with Knative, or repair one",
		Long: `Make a cluster and install Knative Serving with Kourier and the HPA class, metrics-server and Knative Eventing.
Running it again repairs what is missing and changes nothing else.

kind and minikube need Docker. gke costs money until weir cluster down. node is a whole Kubernetes on this Linux machine:
it needs root and a few Debian packages, which it names, and is compiled once (10 to 20 minutes); everything that it runs
is in namespaces of its own, reaches no other network, and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.State = *state
			if o.Context != "" {
				if cmd.Flags().Changed("on") {
					return usagef(cmd, "--context is for a cluster that is there, --on for one to make: give one of them")
				}
				o.On = kind.OnContext
			}
			if dryRun {
				return kind.Plan(e.out, o)
			}
			info, err := kind.Up(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printCluster(e.out, info)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.On, "on", kind.OnNode, "where the cluster runs: kind, minikube, gke or node")
	f.StringVar(&o.Context, "context", "", "install on the cluster of this context of your kubeconfig and make none")
	f.BoolVar(&o.Eventing, "eventing", true, "install Knative Eventing, too")
	f.BoolVar(&dryRun, "dry-run", false, "print the commands instead of running them")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:80", "on node: address on this machine that leads to the cluster's ingress")
	f.StringVar(&o.Source, "source", ".", "on node: checkout of weir that its programs are built from")
	f.StringVar(&o.GKE.Project, "project", "", "on gke: the Google Cloud project")
	f.StringVar(&o.GKE.Location, "location", "", "on gke: the region, or a zone with --standard")
	f.BoolVar(&o.GKE.Standard, "standard", false, "on gke: a Standard cluster with nodes of its own instead of Autopilot")
	return cmd
}

func (e *env) clusterBuild() *cobra.Command {
	o := node.Options{Say: e.say}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build what --on node runs, without starting it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := node.Build(cmd.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(e.out, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&o.Source, "source", ".", "checkout of weir that the programs are built from")
	return cmd
}

func (e *env) clusterDown(state *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster and everything it made",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return kind.Down(cmd.Context(), kind.Options{State: *state, Say: e.say})
		},
	}
}

func (e *env) clusterStatus(state *string) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the cluster is reached, whether it answers and what runs on it",
		Long: `Show how the cluster is reached and whether it answers; of one that does, each node's memory in use, as metrics-server
says, of what it has for pods, and the pods of each namespace that have not ended.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, err := kind.Status(cmd.Context(), *state)
			if err != nil {
				return err
			}
			if out == outputJSON {
				return printJSON(e.out, info)
			}
			return printCluster(e.out, info)
		},
	}
	outputFlag(cmd, &out, outputTable, outputJSON)
	return cmd
}

// clusterKeep and clusterInit are processes of the node, not for people.
func (e *env) clusterKeep(state *string) *cobra.Command {
	return &cobra.Command{
		Use: "keep", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return node.Keep(cmd.Context(), *state) },
	}
}

func (e *env) clusterInit() *cobra.Command {
	return &cobra.Command{
		Use: "init", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return node.Init() },
	}
}

func printCluster(w io.Writer, info kind.Info) error {
	state := "ready"
	if !info.Ready {
		state = "does not answer: weir cluster up --on " + info.On + " starts it again"
	}
	rows := [][]string{{"cluster", info.On + ", " + state}}
	for _, row := range [][]string{
		{"kubeconfig", info.Kubeconfig}, {"context", info.Context}, {"registry", info.Registry},
		{"services", "http://NAME.NAMESPACE." + info.Domain + ", at " + info.Ingress},
	} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	if u := info.Usage; u != nil {
		rows = append(rows, usageRows(u)...)
	}
	return table(w, rows)
}

// usageRows are the cluster's nodes and namespaces, the first of each behind what they are.
func usageRows(u *kind.Usage) [][]string {
	var rows [][]string
	for _, n := range u.Nodes {
		used := "-"
		if n.Used != nil {
			used = gibibytes(*n.Used)
		}
		rows = append(rows, []string{"", n.Name, used + " of " + gibibytes(n.Memory) + " GiB"})
	}
	if len(u.Nodes) > 0 {
		rows[0][0] = "memory"
	}
	for i, n := range u.Namespaces {
		row := []string{"", n.Name, strconv.Itoa(n.Pods)}
		if i == 0 {
			row[0] = "pods"
		}
		if n.Ready < n.Pods {
			row[2] += fmt.Sprintf(", %d not ready", n.Pods-n.Ready)
		}
		rows = append(rows, row)
	}
	for _, why := range u.Unknown {
		rows = append(rows, []string{"not known", why})
	}
	return rows
}

func gibibytes(n int64) string { return strconv.FormatFloat(float64(n)/(1<<30), 'f', 1, 64) }

// say tells about one step.
func (e *env) say(format string, args ...any) { fmt.Fprintf(e.err, format+"\n", args...) }
