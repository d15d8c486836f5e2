package command

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/functions/source"
	"weir.dev/weir/knative"
)

// deployOptions are the flags of weir deploy.
type deployOptions struct {
	knative.DeployOptions
	place
	traffic int
	wait    bool
	timeout time.Duration
	output  output
}

func (e *env) deploy() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy NAME [--model DIR|ARCHIVE|https://…|s3://…|gs://…|azblob://…] [--image IMAGE]",
		Short: "Serve a SavedModel: create a service, or give it its next revision",
		Long: `Serve a TensorFlow SavedModel. The first deploy of NAME creates the service; each later one makes its next revision,
which takes all traffic unless --traffic says how much. Requests go to the old revision until the new one is ready.

On a cluster the model is in the image that --image names, or at an address that the pods reach; the image that serves
any model is $WEIR_REGISTRY/weir/savedmodel if --image is not given.`,
		Example: `  weir deploy half --model ./models/half_plus_two
  weir deploy half --model ./models/half_plus_two/2 --tag next --traffic 10
  weir deploy half --model ./half_plus_two.tar.gz
  weir deploy half --model https://example.com/half.tar.gz#sha256=… --min-scale 1 --concurrency 8
  weir deploy half --model 's3://models/half.tar.gz?region=eu-central-1#sha256=…'
  weir deploy half --on cluster --image registry.example.com/weir/half:2 --tag next --traffic 10
  weir deploy half --on cluster --model 's3://models/half.tar.gz?region=eu-central-1#sha256=…' --cache-claim weir-models`,
		Args: exactly("NAME"),
	}
	f := cmd.Flags()
	f.StringVar(&o.Model, "model", "", "the SavedModel: a folder (of version folders, too), an archive, or an archive's address: https://, s3://, gs://, azblob://")
	f.StringVar(&o.Image, "image", "", "the container image on a cluster: of a function, with or without the model in it")
	f.StringVar(&o.Tag, "tag", "", "name the revision: reach it by its address TAG-NAME.… or by X-Weir-Tag")
	f.IntVar(&o.traffic, "traffic", 100, "percent of the untagged requests that the new revision takes")
	f.IntVar(&o.MinScale, "min-scale", 0, "replicas to keep")
	f.IntVar(&o.MaxScale, "max-scale", 0, "replicas at most; 0 is no limit")
	f.Int64Var(&o.Concurrency, "concurrency", 0, "requests that a replica takes at once; 0 is no limit")
	f.IntVar(&o.Target, "target", 0, "requests at once for each replica that the autoscaler aims at; 0 is Knative's default")
	f.DurationVar(&o.Window, "window", 0, "time over which the autoscaler averages; 0 is Knative's default")
	f.Int64Var(&o.Version, "version", 0, "the model's version (default: the number of the model's folder)")
	f.StringVar(&o.Batch, "batch", "", "requests that run together at most: a number, off, or auto: where a measurement finds a gain (default auto)")
	f.BoolVar(&o.H2C, "h2c", false, "on a cluster, gRPC at the model's own address, too: HTTP/2 to the container (the router needs it not)")
	f.StringVar(&o.CacheClaim, "cache-claim", "", "on a cluster, the PersistentVolumeClaim where replicas share the models they fetch (default: each pod fetches)")
	f.StringArrayVar(&o.Env, "env", nil, "KEY=VALUE for the function; may be given again")
	f.BoolVar(&o.wait, "wait", true, "wait until the revision is ready")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long to wait")
	outputFlag(cmd, &o.output, outputTable, outputJSON)
	placeFlags(cmd, &o.place)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch o.Cluster = o.on == onCluster; {
		case o.Model == "" && !o.Cluster:
			return usagef(cmd, "--model is missing: the folder of a SavedModel, or the address of its archive")
		case o.Model == "" && o.Image == "":
			return usagef(cmd, "--image is missing, of an image that has the model, or --model with the model's address")
		}
		o.Given = cmd.Flags().Changed
		if cmd.Flags().Changed("traffic") {
			o.Traffic = &o.traffic
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
		defer cancel()
		return e.runDeploy(ctx, args[0], o)
	}
	return cmd
}

func (e *env) runDeploy(ctx context.Context, name string, o deployOptions) error {
	engine, err := e.dial(o.place)
	if err != nil {
		return err
	}
	o.Name = name
	if !o.Cluster {
		if o.Model, err = modelAddress(o.Model); err != nil {
			return err
		}
		if o.Function, err = functionProgram(); err != nil {
			return err
		}
	}
	services, err := engine.Services(ctx)
	if err != nil {
		return err
	}
	var existing *servingv1.Service
	for _, s := range services {
		if s.Name == name {
			existing = s
		}
	}
	if existing != nil {
		// Only a cluster's Services have a status; one machine names its revisions by the generation.
		o.Latest = cmp.Or(existing.Status.LatestReadyRevisionName, existing.Status.LatestCreatedRevisionName)
	}
	if registry := os.Getenv("WEIR_REGISTRY"); o.Cluster && existing == nil && o.Image == "" && registry != "" {
		o.Image = registry + "/" + knative.DefaultImage
	}
	there, err := revisions(ctx, engine, name)
	if err != nil {
		return err
	}
	for _, r := range there {
		o.Revisions = append(o.Revisions, r.Name)
		if r.State == knative.StateFailed && r.NeverReady {
			o.Failed = append(o.Failed, r.Name)
		}
	}
	svc, err := knative.Build(existing, o.DeployOptions)
	if err != nil {
		return err
	}
	if err := engine.Apply(ctx, svc); err != nil {
		return err
	}
	revision := svc.Spec.Template.Name
	share := shareOf(svc, revision)
	if o.Traffic != nil && share != *o.Traffic {
		fmt.Fprintf(e.err, "%s takes %d%%: no other revision answers\n", revision, share)
	}
	var status knative.ServiceStatus
	said := "accepted"
	if o.wait {
		status, err = e.awaitReady(ctx, engine, wanted{service: name, revision: revision, tag: o.Tag, percent: share, block: svc.Spec.Traffic})
		said = "is ready"
	} else {
		status, err = serviceStatus(ctx, engine, name)
	}
	if err != nil {
		return err
	}
	if o.output == outputJSON {
		return printJSON(e.out, status)
	}
	_, err = fmt.Fprintf(e.out, "revision %s %s: %s\n", revision, said, status.URL)
	return err
}

// revisions returns the revisions that a service has.
func revisions(ctx context.Context, engine knative.Engine, service string) ([]knative.RevisionStatus, error) {
	all, err := engine.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.Name == service {
			return s.Revisions, nil
		}
	}
	return nil, nil
}

// modelAddress makes a path absolute and checks that a folder or an archive is there; an archive gets its digest, since a
// revision never changes. An address stays as it is.
func modelAddress(model string) (string, error) {
	if u, err := url.Parse(model); err == nil && u.Scheme != "" && strings.Contains(model, "://") {
		if u.Scheme == "file" && u.Host == "" && u.Fragment == "" {
			return modelAddress(u.Path)
		}
		return model, nil
	}
	name, err := filepath.Abs(model)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("model %s is not there: expected a SavedModel's folder, its archive, or the archive's address: https://…, s3://…, gs://…, azblob://…", name)
	case info.IsDir():
		return name, nil
	}
	pinned, err := source.Pin(name)
	if err != nil {
		return "", fmt.Errorf("model %s: %w", name, err)
	}
	return pinned, nil
}

// functionProgram finds the function for any SavedModel: it is built beside weir.
func functionProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	program := filepath.Join(filepath.Dir(self), "functions", "savedmodel")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("the function program %s is missing: make build", program)
	}
	return program, nil
}

// serviceStatus returns what runs of one service.
func serviceStatus(ctx context.Context, engine knative.Engine, name string) (knative.ServiceStatus, error) {
	all, err := engine.Status(ctx)
	if err != nil {
		return knative.ServiceStatus{}, err
	}
	return named(all, name)
}

// shareOf is a revision's share by the traffic block.
func shareOf(svc *servingv1.Service, revision string) int {
	share := 0
	for _, t := range svc.Spec.Traffic {
		if t.RevisionName == revision && t.Percent != nil {
			share += int(*t.Percent)
		}
	}
	return share
}
