package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	discovery "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"knative.dev/serving/pkg/client/clientset/versioned"

	"weir.dev/weir/internal/ballast"
	"weir.dev/weir/internal/frugal"
	"weir.dev/weir/internal/h2"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/knative/cluster/dispatch"
	"weir.dev/weir/knative/cluster/kubeconfig"
	"weir.dev/weir/router"
	"weir.dev/weir/router/fetch"
	"weir.dev/weir/router/later"
	"weir.dev/weir/router/static"
)

const long = `Router sends HTTP requests and CloudEvents to the revisions of models, and shows /home.

On a cluster it finds the models by watching: they are the namespace's Knative Services with the label weir.dev/model.
It needs to get, list and watch services and revisions of serving.knative.dev and endpointslices of discovery.k8s.io.

Anywhere else --services names a file that lists them, in YAML:

  services:
  - name: imagenet
    url: http://imagenet.default.example.com   # requests to this host go to the model; optional
    eventTypes: [com.example.photo]            # CloudEvents types that mean the model; optional
    revisions:
    - name: imagenet-00001
      url: http://10.0.0.7:8080                # where the revision answers
      tags: [lite0]
      percent: 100                             # share of the untagged requests
      version: 1                               # what /versions/1 means
      images: true                             # takes raw image bodies
      h2c: false                               # speak unencrypted HTTP/2 to it

It listens on $PORT (8080 if that is not set), logs a JSON line a request to standard error, and on SIGTERM takes no new
requests, finishes those that run, and exits.`

// settings are the command line's.
type settings struct {
	services   string
	cluster    kubeconfig.Options
	port       string
	body       int64
	timeout    time.Duration
	drain      time.Duration
	allow      []string
	trustProxy bool
	later      later.Options
	eventsFile string
}

func command(stderr io.Writer) *cobra.Command {
	var s settings
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	cmd := &cobra.Command{
		Use:   "router [--services FILE]",
		Short: "Send requests and CloudEvents to models",
		Long:  long,
		Example: `  PORT=8080 router --services services.yaml
  PORT=8080 router --namespace models
  curl -d '{"instances": [[1, 2]]}' http://127.0.0.1:8080/v1/models/half:predict`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ln, err := net.Listen("tcp", ":"+s.port)
			if err != nil {
				return fmt.Errorf("listen: %w", err)
			}
			return run(cmd.Context(), ln, s, zerolog.New(stderr).With().Timestamp().Logger())
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.services, "services", "", "file that lists the models and where their revisions answer (default: watch a cluster)")
	f.StringVar(&s.cluster.Kubeconfig, "kubeconfig", "", "file that says how to reach the cluster (default $KUBECONFIG, ~/.kube/config or the pod's service account)")
	f.StringVar(&s.cluster.Context, "context", "", "context of the kubeconfig (default its current one)")
	f.StringVar(&s.cluster.Namespace, "namespace", "", "namespace of the models on the cluster (default the context's, or the pod's own)")
	f.StringVar(&s.port, "port", port, "port to listen on ($PORT)")
	f.Int64Var(&s.body, "max-body", 32<<20, "largest request body in bytes")
	f.DurationVar(&s.timeout, "timeout", 300*time.Second, "how long a request without X-Weir-Timeout may take")
	f.DurationVar(&s.drain, "drain", 30*time.Second, "how long running requests may go on after SIGTERM")
	f.StringSliceVar(&s.allow, "fetch-allow", nil, "prefixes (10.0.0.0/8) or HOST:PORTs that images may be fetched from besides public addresses")
	f.BoolVar(&s.trustProxy, "trust-forwarded", false, "keep the X-Forwarded headers of requests: for a router behind a proxy")
	s.later.Flags(f)
	f.StringVar(&s.eventsFile, "events-file", "", "file on a disk that outlives the process, for events to answer later (default: each is answered at once)")
	for _, name := range []string{"kubeconfig", "context", "namespace"} {
		cmd.MarkFlagsMutuallyExclusive("services", name)
	}
	return cmd
}

// run serves on ln until ctx ends, and drains.
func run(ctx context.Context, ln net.Listener, s settings, log zerolog.Logger) error {
	defer func() { _ = ln.Close() }()
	defer ballast.Carry()()
	backend, watch, err := open(s, log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	s.later.Drain, s.later.Log, s.later.Registry = s.drain, log, registry
	var queue *later.Queue
	if s.eventsFile != "" {
		if queue, err = s.later.OpenFile(s.eventsFile); err != nil {
			return err
		}
	}
	rt, err := router.New(router.Options{
		Later: queue, Registry: registry,
		Backend: backend, Log: log, Limits: router.Limits{Body: s.body, Timeout: s.timeout},
		Fetch: fetch.Options{Allow: s.allow}, TrustForwarded: s.trustProxy,
	})
	if err != nil {
		return err
	}
	if s.services != "" {
		// A file is there at once: until it is read, connections wait at the port. A cluster may be away, which /readyz says.
		if err := rt.Sync(ctx); err != nil {
			return err
		}
	}
	log.Info().Str("address", ln.Addr().String()).Msg("listening")
	// The watch goes on while requests are finished.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var watched errgroup.Group
	watched.Go(func() error { return watch(watching) })
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rt.Run(ctx) })
	saver := frugal.NewSaver()
	g.Go(func() error { saver.Run(ctx); return nil })
	h := saver.Handler(rt.Handler())
	g.Go(func() error {
		return server.RunBeside(ctx, ln, h, server.Limits{Drain: s.drain}, h2.New(h, h2.Options{}))
	})
	err = g.Wait()
	stop()
	if err := errors.Join(err, watched.Wait()); err != nil {
		return err
	}
	log.Info().Msg("drained")
	return nil
}

// open returns where the models run, and what follows it until its context ends.
func open(s settings, log zerolog.Logger) (knative.Backend, func(context.Context) error, error) {
	if s.services != "" {
		file, err := static.Load(s.services)
		if err != nil {
			return nil, nil, err
		}
		return file, func(ctx context.Context) error { <-ctx.Done(); file.Close(); return nil }, nil
	}
	config, namespace, err := kubeconfig.Load(s.cluster)
	if err != nil {
		return nil, nil, fmt.Errorf("%w; without a cluster, name a file: --services FILE", err)
	}
	serving, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: %w", err)
	}
	slices, err := discovery.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster: %w", err)
	}
	watched, err := dispatch.New(dispatch.Options{Serving: serving, Discovery: slices, Namespace: namespace, Log: log})
	if err != nil {
		return nil, nil, err
	}
	return watched, watched.Run, nil
}
