package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir.dev/weir/knative/local"
)

func (e *env) logs() *cobra.Command {
	var follow bool
	var p place
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a service's replicas wrote",
		Example: `  weir logs imagenet
  weir logs imagenet -f
  weir logs imagenet --on cluster`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			engine, err := e.dial(p)
			if err != nil {
				return err
			}
			err = engine.Logs(cmd.Context(), args[0], follow, e.out)
			if follow && cmd.Context().Err() != nil {
				return nil //nolint:nilerr // Ctrl-C is how one ends to follow
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until Ctrl-C")
	placeFlags(cmd, &p)
	return cmd
}

func (e *env) delete() *cobra.Command {
	var p place
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a service, its revisions and its replicas; requests that run finish first",
		Example: `  weir delete half
  weir delete half --on cluster`,
		Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			engine, err := e.dial(p)
			if err != nil {
				return err
			}
			if err := engine.Delete(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "service %s deleted\n", args[0])
			return err
		},
	}
	placeFlags(cmd, &p)
	return cmd
}

func (e *env) down() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "End weir on this machine; requests that run finish first, services stay in the state",
		Example: `  weir down`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := local.Dial(e.state)
			if err != nil {
				return err
			}
			if err := client.Shutdown(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(e.out, "weir is down")
			return err
		},
	}
}

func (e *env) version() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of the engine that runs",
		Example: `  weir version
  weir version -o json`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Client string `json:"client"`
				Engine string `json:"engine,omitempty"`
			}{Client: Version}
			// No engine is no failure here: the question was about this program first.
			if client, err := local.Dial(e.state); err == nil {
				v.Engine, _ = client.Version(cmd.Context())
			}
			if out == outputJSON {
				return printJSON(e.out, v)
			}
			_, err := fmt.Fprintf(e.out, "weir %s\nengine %s\n", v.Client, orNone(v.Engine))
			return err
		},
	}
	outputFlag(cmd, &out, outputTable, outputJSON)
	return cmd
}

func orNone(s string) string {
	if s == "" {
		return "not running"
	}
	return s
}
