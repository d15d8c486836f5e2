package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/internal/frugal"
	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/report"
	"weir.dev/weir/loadtest/scenario"
	"weir.dev/weir/loadtest/terminal"
	"weir.dev/weir/loadtest/ui"
)

// reportsDir is where reports go, each in a dated folder, unless --out says where.
const reportsDir = "weir-load"

// loadOptions are the flags of weir load.
type loadOptions struct {
	place
	out, address, ui, registry string
	length                     time.Duration
	allowHosts                 []string
	output                     output
}

func (e *env) load() *cobra.Command {
	var o loadOptions
	cmd := &cobra.Command{
		Use:   "load SCENARIO.yaml",
		Short: "Run a load test and write a report of it",
		Long: `Run a load test: send what the scenario says, open loop (arrivals a second) or closed loop (users), watch the replicas
meanwhile, and write a report (HTML, CSV, JSON, PNG) into a folder. The exit code is 1 if a threshold does not hold.
Ctrl-C ends the load and writes the report of what was done.`,
		Example: `  weir load loadtest/scenarios/autoscaling.yaml
  weir load loadtest/scenarios/soak.yaml --for 10m            # shorter than it says
  weir load loadtest/scenarios/autoscaling.yaml --ui :8089    # and watch it at http://127.0.0.1:8089
  weir load loadtest/scenarios/autoscaling-hpa.yaml --on cluster
  weir load loadtest/scenarios/first.yaml -o json | jq '.thresholds[] | select(.holds | not)'
  weir load compare weir-load/2026-11-24T10-00-00-no-autoscaling weir-load/2026-11-24T10-05-00-autoscaling`,
		Args: exactly("SCENARIO.yaml"),
		RunE: func(cmd *cobra.Command, args []string) error { return e.runLoad(cmd, args[0], o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "folder of the report (default: "+reportsDir+"/DATE-NAME)")
	f.StringVar(&o.address, "address", "", "address of the router, or of the cluster's ingress (default: found from the engine)")
	f.StringVar(&o.registry, "registry", "", "on a cluster: where the images weir/NAME of the scenario's services are (default: where the router's is)")
	f.StringVar(&o.ui, "ui", "", "show the run on a web page at this address, such as :8089 (of this machine only), until Ctrl-C; users or a rate that are changed there hold until the run ends")
	f.DurationVar(&o.length, "for", 0, "let the load last so long, such as 20s to try it out: its stages, changes and tail in proportion")
	f.StringArrayVar(&o.allowHosts, "allow-host", nil, "a host besides this machine that load may be sent to; may be given again")
	outputFlag(cmd, &o.output, outputTable, outputJSON)
	placeFlags(cmd, &o.place)
	cmd.AddCommand(e.loadCompare())
	return cmd
}

func (e *env) runLoad(cmd *cobra.Command, file string, o loadOptions) error {
	s, err := scenario.Read(file)
	if err != nil {
		return err
	}
	switch {
	case o.length < 0 || o.length > 0 && o.length < time.Second:
		return usagef(cmd, "--for is %v: expected 1s or more", o.length)
	case o.length > 0:
		s.Stretch(o.length)
	}
	opts := loadtest.Options{
		Scenario: s, Address: o.address, Registry: o.registry, AllowHosts: o.allowHosts, Version: Version, Asked: o.address != "",
	}
	if err := e.loadOn(cmd.Context(), &opts, o); err != nil {
		return err
	}
	if err := report.CheckDir(cmp.Or(o.out, reportsDir)); err != nil {
		return err // now, not after an hour of load
	}
	sending, sent := context.WithCancel(cmd.Context())
	defer sent()
	go frugal.Keep(sending)
	view := terminal.New(e.err, isTerminal(e.err))
	opts.Row = view.Row
	if o.ui != "" {
		return e.loadWatched(cmd.Context(), opts, o)
	}
	session, err := loadtest.Start(cmd.Context(), opts)
	if err != nil {
		return err
	}
	run, err := session.Wait()
	_, problem := e.finishLoad(run, o.out, o.output)
	return errors.Join(err, problem)
}

// loadOn finds the engine and the way to its router.
func (e *env) loadOn(ctx context.Context, opts *loadtest.Options, o loadOptions) error {
	engine, err := e.dial(o.place)
	if err != nil && o.on == onLocal {
		return nil // a load on a URL needs no engine; one on a model says what to start
	}
	if err != nil {
		return err
	}
	opts.Engine, opts.EngineName = engine, o.on
	u, at, err := engine.Router(ctx, o.address)
	if err != nil {
		return err
	}
	if o.on == onLocal {
		opts.Address = cmp.Or(o.address, at)
		return nil
	}
	opts.Address, opts.At = u.String(), at
	if opts.Registry == "" {
		opts.Registry, err = besideRouter(ctx, engine)
	}
	return err
}

// besideRouter is the registry that the router's image came from.
func besideRouter(ctx context.Context, engine knative.Engine) (string, error) {
	services, err := engine.Services(ctx)
	if err != nil {
		return "", err
	}
	for _, svc := range services {
		if svc.Name != routerService {
			continue
		}
		if registry, _, ok := strings.Cut(svc.Spec.Template.Spec.Containers[0].Image, "/weir/router"); ok {
			return registry, nil
		}
	}
	return "", nil // its image is named otherwise, and so may the models' be
}

// loadWatched runs the load with its page until Ctrl-C.
func (e *env) loadWatched(ctx context.Context, opts loadtest.Options, o loadOptions) error {
	address := o.ui
	if strings.HasPrefix(address, ":") {
		address = "127.0.0.1" + address // whoever reaches the page can send load
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--ui: %w", err)
	}
	fmt.Fprintf(e.err, "watch it at http://%s/   (Ctrl-C ends it)\n", ln.Addr())
	runs := 0
	return ui.New(ui.Options{
		Start: func(ctx context.Context) (ui.Session, error) { return loadtest.Start(ctx, opts) },
		Finish: func(run measure.Run) (string, error) {
			out := o.out
			if runs++; out != "" && runs > 1 {
				out = fmt.Sprintf("%s-%d", out, runs)
			}
			return e.finishLoad(run, out, o.output)
		},
	}).Serve(ctx, ln)
}

// errThresholds says that the run was made and did not do what was expected.
var errThresholds = errors.New("a threshold does not hold")

// errTargetDied says that there was nobody to answer.
var errTargetDied = errors.New("the target died")

// outcome is what came of a run, for programs; what it was like over time is in the report's run.json.
type outcome struct {
	Report     string            `json:"report"`
	Scenario   string            `json:"scenario"`
	Engine     string            `json:"engine"`
	Seconds    float64           `json:"seconds"`
	Died       bool              `json:"died"`
	Notes      []string          `json:"notes"`
	Summaries  []measure.Summary `json:"summaries"`
	Failures   []measure.Failure `json:"failures"`
	Thresholds []measure.Verdict `json:"thresholds"`
}

func (e *env) printOutcome(page string, run measure.Run, o output) error {
	if o == outputJSON {
		return printJSON(e.out, outcome{
			page, run.Scenario, run.Engine, run.Seconds, run.Died, run.Notes, run.Summaries, run.Failures, run.Thresholds,
		})
	}
	_, err := fmt.Fprintf(e.out, "report: %s\n", page)
	return err
}

// finishLoad writes a run's report, and says what came of the run and where the report is.
func (e *env) finishLoad(run measure.Run, out string, o output) (string, error) {
	terminal.Summary(e.err, run) // a report that can't be written takes nothing of it away
	if out == "" {
		dir, err := report.MakeDir(reportsDir, run.Scenario, run.Started)
		if err != nil {
			return "", err
		}
		out = dir
	}
	if err := report.Write(out, run); err != nil {
		return "", err
	}
	page := filepath.Join(out, report.FileHTML)
	if err := e.printOutcome(page, run, o); err != nil {
		return page, err
	}
	switch {
	case run.Died:
		return page, errTargetDied
	case run.Failed():
		return page, errThresholds
	}
	return page, nil
}

func (e *env) loadCompare() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "compare A B",
		Short:   "Write a page that shows two runs side by side, and a picture with the lines of both",
		Example: `  weir load compare weir-load/monday weir-load/tuesday --out compare.html`,
		Args:    exactly("A", "B"),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := report.Read(args[0])
			if err != nil {
				return err
			}
			b, err := report.Read(args[1])
			if err != nil {
				return err
			}
			if out == "" {
				out = report.Dir(reportsDir, "compare", time.Now()) + ".html"
			}
			picture, err := report.WriteCompare(out, a, b)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(e.out, "report: %s\npicture: %s\n", out, picture)
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the page's file (default: "+reportsDir+"/DATE-compare.html)")
	return cmd
}
