package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"weir.dev/weir/internal/server"
	"weir.dev/weir/router"
	"weir.dev/weir/router/fetch"
	"weir.dev/weir/router/static"
)

const long = `Router sends HTTP requests and CloudEvents to the revisions of models that a services file lists, and shows /home.

The services file is YAML:

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
	port       string
	body       int64
	timeout    time.Duration
	drain      time.Duration
	allow      []string
	trustProxy bool
}

func command(stderr io.Writer) *cobra.Command {
	var s settings
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	cmd := &cobra.Command{
		Use:   "router --services FILE",
		Short: "Send requests and CloudEvents to models",
		Long:  long,
		Example: `  PORT=8080 router --services services.yaml
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
	f.StringVar(&s.services, "services", "", "file that lists the models and where their revisions answer")
	f.StringVar(&s.port, "port", port, "port to listen on ($PORT)")
	f.Int64Var(&s.body, "max-body", 32<<20, "largest request body in bytes")
	f.DurationVar(&s.timeout, "timeout", 300*time.Second, "how long a request without X-Weir-Timeout may take")
	f.DurationVar(&s.drain, "drain", 30*time.Second, "how long running requests may go on after SIGTERM")
	f.StringSliceVar(&s.allow, "fetch-allow", nil, "prefixes (10.0.0.0/8) or HOST:PORTs that images may be fetched from besides public addresses")
	f.BoolVar(&s.trustProxy, "trust-forwarded", false, "keep the X-Forwarded headers of requests: for a router behind a proxy")
	// The flag exists: it was made above.
	_ = cmd.MarkFlagRequired("services")
	return cmd
}

// run serves on ln until ctx ends, and drains.
func run(ctx context.Context, ln net.Listener, s settings, log zerolog.Logger) error {
	defer func() { _ = ln.Close() }()
	backend, err := static.Load(s.services)
	if err != nil {
		return err
	}
	defer backend.Close()
	rt, err := router.New(router.Options{
		Backend: backend, Log: log, Limits: router.Limits{Body: s.body, Timeout: s.timeout},
		Fetch: fetch.Options{Allow: s.allow}, TrustForwarded: s.trustProxy,
	})
	if err != nil {
		return err
	}
	if err := rt.Sync(ctx); err != nil {
		return err
	}
	log.Info().Str("address", ln.Addr().String()).Msg("listening")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rt.Run(ctx) })
	g.Go(func() error { return server.Run(ctx, ln, rt.Handler(), server.Limits{Drain: s.drain}) })
	if err := g.Wait(); err != nil {
		return err
	}
	log.Info().Msg("drained")
	return nil
}
