// Command weir serves machine-learning models as Knative Services, on this machine or on a cluster.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"weir.dev/weir/internal/command"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once: the first only asks for a drain.
	context.AfterFunc(ctx, stop)
	return command.Execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
