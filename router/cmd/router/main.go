// Command router is the router as a program of its own, for clusters: it needs no cgo and no engine beside it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once: the first only asks for a drain.
	context.AfterFunc(ctx, stop)
	if err := command(os.Stderr).ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "router: %v\n", err)
		os.Exit(1)
	}
}
