// Package functions is the process of a model function: it reads its settings, loads the model and serves it. A sample
// function is a main of a few lines that calls Main with its hooks.
package functions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"weir.dev/weir/functions/model"
	"weir.dev/weir/functions/tensorflow"
	"weir.dev/weir/internal/ballast"
	"weir.dev/weir/internal/frugal"
	"weir.dev/weir/internal/rpc/direct"
	"weir.dev/weir/internal/server"
)

// Options say what a function is, before its settings.
type Options struct {
	// Name is the model's name if neither --name nor K_SERVICE says another.
	Name string
	// Image is how encoded images become the input of a model that takes only floats; flags change it.
	Image tensorflow.Image
	// Hooks are put around the model, the first one next to it.
	Hooks []model.Hook
}

// Main runs a function until SIGTERM or SIGINT and returns the process's exit code.
func Main(o Options) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := zerolog.New(os.Stderr).With().Timestamp().Logger()
	if err := tensorflow.WithOneDNN(); err != nil {
		log.Warn().Err(err).Msg("models that were optimised for oneDNN will not run")
	}
	if err := command(o, log).ExecuteContext(ctx); err != nil {
		log.Error().Err(err).Msg("function ends")
		return 1
	}
	return 0
}

// command is the function's command line.
func command(o Options, log zerolog.Logger) *cobra.Command {
	s := fromEnvironment(o)
	s.began = time.Now()
	cmd := &cobra.Command{
		Use:   o.Name,
		Short: "Serve the model " + o.Name + " over HTTP",
		Long: `Serve a TensorFlow SavedModel: TensorFlow Serving's REST API, the Open Inference Protocol and CloudEvents, on $PORT.
/healthz answers at once, /readyz when the model is loaded and warmed up.`,
		Example: fmt.Sprintf(`  PORT=8501 %[1]s --model ./models/%[1]s
  %[1]s --model https://example.com/%[1]s.tar.gz --labels stable`, o.Name),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), o, log) },
	}
	s.flags(cmd.Flags())
	return cmd
}

// run serves at once, loads meanwhile, and returns when ctx has ended and requests are done.
func (s settings) run(ctx context.Context, o Options, log zerolog.Logger) error {
	defer ballast.Carry()()
	frugal.PatientUnlessNice() // before TensorFlow starts threads, which inherit it
	f, err := s.newFunction(o, log)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		if err := f.load(ctx); err != nil {
			f.server.SetFailed(err)
			cancel(err)
			return
		}
		f.measure(ctx)
	}()
	h := f.server.Handler()
	err = server.RunBeside(ctx, ln, h, server.Limits{Drain: s.drain}, direct.New(h, direct.Options{Message: s.limits.Body}))
	cancel(nil)
	<-loaded
	err = errors.Join(err, f.close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}
