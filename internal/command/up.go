package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/internal/ballast"
	"weir.dev/weir/internal/frugal"
	"weir.dev/weir/internal/h2"
	"weir.dev/weir/internal/server"
	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local"
	"weir.dev/weir/router"
	"weir.dev/weir/router/fetch"
	"weir.dev/weir/router/later"
)

// upOptions are the flags of weir up.
type upOptions struct {
	files      []string
	kustomize  []string
	listen     string
	autoscaler map[string]string
	configFile string
	allowFetch []string
	drain      time.Duration
	later      later.Options
	logLevel   string
	logJSON    bool
}

func (e *env) up() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start weir on this machine: the engine, the router and the front end",
		Long: `Start weir on this machine and serve until Ctrl-C.

Every revision's replicas are processes, started and ended as Knative's own autoscaler decides. The manifests are the
Knative Services that a cluster gets. Services of earlier runs are kept in the state folder and start with it.`,
		Example: `  weir up -f knative/
  weir up -f knative/ --listen 127.0.0.1:9000
  weir up -k knative/overlays/local
  weir up -f digits.yaml --autoscaler stable-window=10s --autoscaler scale-to-zero-grace-period=5s
  weir up -f knative/ --autoscaler-config config-autoscaler.yaml`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return e.runUp(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.files, "filename", "f", nil, "manifest or folder of manifests to apply; may be given again")
	f.StringArrayVarP(&o.kustomize, "kustomize", "k", nil, "folder with a kustomization.yaml to apply, after those of -f; may be given again")
	f.StringVar(&o.listen, "listen", "127.0.0.1:8080", "address to serve on")
	f.StringToStringVar(&o.autoscaler, "autoscaler", nil, "a key of Knative's config-autoscaler, as key=value; may be given again")
	f.StringVar(&o.configFile, "autoscaler-config", "", "a config-autoscaler ConfigMap as YAML; --autoscaler wins over it")
	f.StringArrayVar(&o.allowFetch, "allow-fetch", nil, "CIDR that image URLs may lead to although it is private or loopback; may be given again")
	f.DurationVar(&o.drain, "drain", 30*time.Second, "how long requests that run may go on at the end")
	o.later.Flags(f)
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&o.logJSON, "log-json", false, "log as JSON even on a terminal")
	return cmd
}

func (e *env) runUp(ctx context.Context, o upOptions) error {
	defer ballast.Carry()()
	frugal.Patient()
	log, err := e.logger(o)
	if err != nil {
		return err
	}
	services, err := loadAll(o)
	if err != nil {
		return err
	}
	autoscaler, err := autoscalerSettings(o)
	if err != nil {
		return err
	}
	ln, err := listen(o.listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	engine, err := local.New(local.Options{
		StateDir:   e.state,
		Address:    ln.Addr().String(),
		Port:       ln.Addr().(*net.TCPAddr).Port,
		Autoscaler: autoscaler,
		Drain:      o.drain,
		Version:    Version,
		Log:        log,
	})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	o.later.Drain, o.later.Log, o.later.Registry = o.drain, log, registry
	queue, err := o.later.OpenFile(filepath.Join(e.state, "events.db"))
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	rt, err := router.New(router.Options{
		Backend: engine, Later: queue, Registry: registry,
		Log:     log,
		Fetch:   fetch.Options{Allow: o.allowFetch},
		Self:    routerService,
		Version: Version,
	})
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	for _, svc := range services {
		if err := engine.Apply(ctx, svc); err != nil {
			return errors.Join(err, engine.Close())
		}
	}
	// Until then connections wait at the port: the first request finds its model.
	if err := rt.Sync(ctx); err != nil {
		return errors.Join(err, engine.Close())
	}
	return e.serve(ctx, engine, rt, ln, o.drain)
}

// serve runs the engine and the router until ctx ends or weir down was called. The router drains first: what it still
// answers needs replicas.
func (e *env) serve(ctx context.Context, engine *local.Engine, rt *router.Router, ln net.Listener, drain time.Duration) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return engine.Run(engineCtx)
	})
	g.Go(func() error {
		select {
		case <-engine.ShutdownRequested():
			stop()
		case <-ctx.Done():
		}
		return nil
	})
	g.Go(func() error {
		defer stopEngine()
		var serving errgroup.Group
		serving.Go(func() error {
			defer stop()
			return rt.Run(ctx)
		})
		saver := frugal.NewSaver()
		serving.Go(func() error {
			saver.Run(ctx)
			return nil
		})
		serving.Go(func() error {
			defer stop()
			h := saver.Handler(rt.Handler())
			return server.RunBeside(ctx, ln, h, server.Limits{Drain: drain}, h2.New(h, h2.Options{}))
		})
		return serving.Wait()
	})
	g.Go(func() error {
		// Not before the control socket is there: the first command finds weir.
		select {
		case <-engine.Started():
		case <-ctx.Done():
			return nil
		}
		fmt.Fprintf(e.err, "weir is up: http://%s/home   (Ctrl-C ends it)\n", ln.Addr())
		return nil
	})
	return g.Wait()
}

func listen(address string) (net.Listener, error) {
	if address == "" {
		// net.Listen would take it for every address of this machine.
		return nil, errors.New("--listen is empty: expected an address such as 127.0.0.1:8080")
	}
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is in use: end what uses it (weir down?) or choose another address with --listen", address)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return ln, nil
}

// logger writes for people on a terminal and JSON elsewhere.
func (e *env) logger(o upOptions) (zerolog.Logger, error) {
	level, err := zerolog.ParseLevel(o.logLevel)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("--log-level %q: it is debug, info, warn or error", o.logLevel)
	}
	w := e.err
	if isTerminal(e.err) && !o.logJSON {
		w = zerolog.ConsoleWriter{Out: e.err, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(level).With().Timestamp().Logger(), nil
}

func loadAll(o upOptions) ([]*servingv1.Service, error) {
	var all []*servingv1.Service
	for _, f := range o.files {
		services, err := knative.Load(f)
		if err != nil {
			return nil, err
		}
		all = append(all, services...)
	}
	for _, dir := range o.kustomize {
		services, err := knative.Kustomize(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, services...)
	}
	return all, nil
}

// autoscalerSettings joins the ConfigMap's data with the keys of the command line.
func autoscalerSettings(o upOptions) (map[string]string, error) {
	settings := map[string]string{}
	if o.configFile != "" {
		data, err := os.ReadFile(o.configFile)
		if err != nil {
			return nil, fmt.Errorf("--autoscaler-config: %w", err)
		}
		var cm corev1.ConfigMap
		if err := yaml.UnmarshalStrict(data, &cm); err != nil {
			return nil, fmt.Errorf("--autoscaler-config %s: expected a ConfigMap: %w", o.configFile, err)
		}
		settings = cm.Data
	}
	if settings == nil {
		settings = map[string]string{}
	}
	for k, v := range o.autoscaler {
		settings[k] = v
	}
	delete(settings, "_example") // as Knative does
	return settings, nil
}
