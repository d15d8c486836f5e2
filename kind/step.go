package kind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// step is one command of a tool that makes or removes a cluster.
type step struct {
	why    string
	args   []string
	env    []string // NAME=value, beside the caller's environment
	stdin  string
	unless []string // a command: where it succeeds, the step is not needed any more
}

// runSteps runs the commands one after the other.
func runSteps(ctx context.Context, steps []step, say func(string, ...any)) error {
	for _, s := range steps {
		if len(s.unless) > 0 && s.command(ctx, s.unless).Run() == nil {
			say("%s: there already", s.why)
			continue
		}
		say("%s: %s", s.why, quoted(s.args))
		cmd := s.command(ctx, s.args)
		cmd.Stdin = strings.NewReader(s.stdin)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", quoted(s.args), err, strings.TrimSpace(out.String()))
		}
	}
	return nil
}

func (s step) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), s.env...)
	return cmd
}

// printSteps writes the commands as a shell script.
func printSteps(w io.Writer, steps []step) error {
	for _, s := range steps {
		line := quoted(s.args)
		if len(s.env) > 0 {
			line = quoted(s.env) + " " + line
		}
		if len(s.unless) > 0 {
			line = quoted(s.unless) + " >/dev/null 2>&1 || " + line
		}
		if s.stdin != "" {
			line += " <<'EOF'\n" + strings.TrimSuffix(s.stdin, "\n") + "\nEOF"
		}
		if _, err := fmt.Fprintf(w, "# %s\n%s\n", s.why, line); err != nil {
			return err
		}
	}
	return nil
}

// quoted is a command as a shell reads it.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = a
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&|<>;()*?[]#~`{}!") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// tool is a program that a way needs, and how it is installed.
type tool struct{ name, install string }

// missingTools names every tool that is not there, with the line that installs it.
func missingTools(tools []tool) error {
	var errs []error
	for _, t := range tools {
		if _, err := exec.LookPath(t.name); err != nil {
			errs = append(errs, fmt.Errorf("%s is not installed: %s", t.name, t.install))
		}
	}
	return errors.Join(errs...)
}
