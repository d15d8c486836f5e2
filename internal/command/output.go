package command

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// output is the -o flag: how a command prints data.
type output string

const (
	outputTable output = "table"
	outputWide  output = "wide"
	outputJSON  output = "json"
)

// outputFlag adds -o with the formats that a command knows; the first is the default.
func outputFlag(cmd *cobra.Command, o *output, formats ...output) {
	*o = formats[0]
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	cmd.Flags().StringVarP((*string)(o), "output", "o", string(formats[0]), "how to print: "+strings.Join(names, ", "))
	checkFlags(cmd, func(cmd *cobra.Command) error {
		for _, f := range formats {
			if *o == f {
				return nil
			}
		}
		return usagef(cmd, "output %q is unknown: it is one of %s", *o, strings.Join(names, ", "))
	})
}

// checkFlags has a command look at its flags before it runs, besides what it looks at already.
func checkFlags(cmd *cobra.Command, check func(cmd *cobra.Command) error) {
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd); err != nil || before == nil {
			return err
		}
		return before(cmd, args)
	}
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // a threshold is p99 < 1ms
	return enc.Encode(v)
}

// table prints rows in columns; the first row is the header.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return t.Flush()
}

// isTerminal says whether a person reads w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
