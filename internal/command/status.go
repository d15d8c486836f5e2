package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/internal/report"
	"weir.dev/weir/knative"
)

func (e *env) status() *cobra.Command {
	var out output
	var p place
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show services, revisions, traffic, replicas and load",
		Long: `Show what runs: a line for every revision with its tags, its share of the traffic, replicas ready of those wanted,
the mean concurrency and the requests per second over the last second, the requests that wait, and its state:
Ready, Idle (scaled to zero, starts on the first request), Starting or Failed. -o wide adds which signatures run
requests together, how many at most and what that gains. A dash is what a cluster does not tell: requests at the
replicas are the autoscaler's figure there, and are no zero where it gives none.`,
		Example: `  weir status
  weir status -o wide
  weir status imagenet -o json
  weir status --on cluster --namespace models`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			engine, err := e.dial(p)
			if err != nil {
				return err
			}
			all, err := look(cmd.Context(), engine, p)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				s, err := named(all, args[0])
				if err != nil {
					return err
				}
				all = []knative.ServiceStatus{s}
			}
			if out == outputJSON {
				return printJSON(e.out, all)
			}
			return printStatus(e.out, all, out == outputWide)
		},
	}
	outputFlag(cmd, &out, outputTable, outputWide, outputJSON)
	placeFlags(cmd, &p)
	return cmd
}

// look is what runs, with the load as far as the engine tells it.
func look(ctx context.Context, engine engine, p place) ([]knative.ServiceStatus, error) {
	if o, ok := engine.(knative.Observer); ok && p.on == onCluster {
		// Who may not read what the load comes from still sees the rest.
		if seen, err := o.Observe(ctx, time.Now()); err == nil {
			return seen.Services, nil
		}
	}
	return engine.Status(ctx)
}

// figure is a number, or a dash if the engine does not tell it.
func figure(r knative.RevisionStatus, f knative.Figure, text string) string {
	if slices.Contains(r.Unknown, f) {
		return "-"
	}
	return text
}

// named picks one service by name; the error lists the names there are.
func named(all []knative.ServiceStatus, name string) (knative.ServiceStatus, error) {
	names := make([]string, 0, len(all))
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return knative.ServiceStatus{}, fmt.Errorf("there is no service %q: none is deployed", name)
	}
	return knative.ServiceStatus{}, fmt.Errorf("there is no service %q: there is %s", name, strings.Join(names, ", "))
}

func printStatus(w io.Writer, all []knative.ServiceStatus, wide bool) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "No services yet. Deploy one: weir deploy NAME --model DIR")
		return err
	}
	rows := [][]string{{"SERVICE", "REVISION", "TAG", "TRAFFIC", "REPLICAS", "CONCURRENCY", "QUEUE", "RPS", "STATE"}}
	if wide {
		rows[0] = append(rows[0], "BATCHES")
	}
	var notes []string
	for _, s := range all {
		for i, r := range s.Revisions {
			name := s.Name
			if i > 0 {
				name = ""
			}
			rows = append(rows, []string{
				name, r.Name, dash(strings.Join(r.Tags, ",")), strconv.Itoa(r.Percent) + "%",
				fmt.Sprintf("%d/%d", r.Ready, r.Wanted), figure(r, knative.FigureConcurrency, strconv.FormatFloat(r.Concurrency, 'f', 1, 64)),
				figure(r, knative.FigureQueue, strconv.Itoa(r.Queue)), figure(r, knative.FigureRPS, strconv.FormatFloat(r.RPS, 'f', 1, 64)), string(r.State),
			})
			if wide {
				rows[len(rows)-1] = append(rows[len(rows)-1], batches(r.Batching))
			}
			if r.Message != "" {
				notes = append(notes, r.Name+": "+r.Message)
			}
		}
		if len(s.Revisions) == 0 {
			rows = append(rows, []string{s.Name, "-", "-", "-", "-", "-", "-", "-", "-"})
		}
		if s.Message != "" {
			notes = append(notes, s.Name+": "+s.Message)
		}
	}
	if err := table(w, rows); err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintln(w, n)
	}
	return nil
}

// batches says which signatures run requests together, how many, and what that was measured to gain.
func batches(all []report.Batching) string {
	var on []string
	most := 0.0
	for _, d := range all {
		gain := 0.0
		if d.Together > 0 {
			gain = d.Alone / d.Together
		}
		most = max(most, gain)
		switch {
		case d.On && gain > 0:
			on = append(on, fmt.Sprintf("%s %d (%.1fx)", d.Signature, d.Size, gain))
		case d.On:
			on = append(on, fmt.Sprintf("%s %d", d.Signature, d.Size))
		}
	}
	switch {
	case len(on) > 0:
		return strings.Join(on, ", ")
	case most > 0:
		return fmt.Sprintf("off (%.1fx)", most)
	case len(all) > 0:
		return "off"
	}
	return "-"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
