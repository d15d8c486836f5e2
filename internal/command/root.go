// Package command is the weir command line: each file a subcommand. It parses, calls the packages that do the work, and
// prints; it decides nothing about models.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir.dev/weir/knative/local"
)

// Version is the version of this build; the Makefile sets it by -ldflags.
var Version = "dev"

// env is what every subcommand shares.
type env struct {
	in       io.Reader
	out, err io.Writer
	state    string
}

// Execute runs the command line and returns the process's exit code: 0, 1 for a failure, 2 for wrong usage.
func Execute(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) int {
	e := &env{in: in, out: out, err: stderr}
	root := e.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "weir: %v\nSee: %s --help\n", usage.err, usage.command)
		return 2
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 130
	}
	fmt.Fprintf(stderr, "weir: %v\n", err)
	return 1
}

func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Serve machine-learning models as Knative Services, on this machine or on a cluster",
		Example: `  weir up -f knative/                                  # start weir with the models of a folder
  weir predict imagenet --image cat.jpg                # classify an image
  weir deploy half --model ./models/half_plus_two      # serve any SavedModel
  weir status                                          # what runs, and how much of it`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().StringVar(&e.state, "state", local.DefaultStateDir(), "folder of the engine's state, its logs and its control socket ($WEIR_STATE)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd.CommandPath(), err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(e.up(), e.deploy(), e.predict(), e.status(), e.logs(), e.load(), e.delete(), e.down(), e.image(), e.cluster(), e.version())
	return root
}

// usageError is a mistake in the command line, not in what it asked for.
type usageError struct {
	command string
	err     error
}

func (u *usageError) Error() string { return u.err.Error() }

func (u *usageError) Unwrap() error { return u.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// noSuchCommand is the error for a word where a command is expected.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef(cmd, "unknown command %q", args[0])
}

// atMost is cobra.MaximumNArgs as a mistake in the command line.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef(cmd, "%q is one argument too many", args[n])
		}
		return nil
	}
}

// exactly is cobra.ExactArgs with an error that says what is missing by name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usagef(cmd, "%s is missing", names[len(args)])
		}
		return atMost(len(names))(cmd, args)
	}
}
