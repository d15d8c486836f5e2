// Command weir-ready ends with 0 if the program beside it in a container says at /readyz that it is ready. Docker's
// health checks run a program, and weir's images have no shell.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// patience is how long the program has to answer.
const patience = 3 * time.Second

func main() {
	if err := ready(context.Background(), net.JoinHostPort("127.0.0.1", cmp.Or(os.Getenv("PORT"), "8080"))); err != nil {
		fmt.Fprintf(os.Stderr, "weir-ready: %v\n", err)
		os.Exit(1)
	}
}

// ready asks the program at address; what it says is part of the error.
func ready(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("%s: %s", res.Status, said)
	}
	return nil
}
