package local

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// helperVar makes the test binary a helper process: what it says is what the helper does.
const helperVar = "WEIR_LOCAL_HELPER"

func TestMain(m *testing.M) {
	switch kind := os.Getenv(helperVar); kind {
	case "":
		goleak.VerifyTestMain(m)
	case "engine":
		helperEngine()
	case "exits":
		fmt.Println("the model has no signature")
		os.Exit(3)
	default:
		helperServer(kind)
	}
}

// ticketsVar is a folder; each file in it lets a helper that waits go on once: see tickets.
const ticketsVar = "WEIR_LOCAL_TICKETS"

// helperServer is a small model: it gets ready, with a ticket if there is a folder of them, and answers every path with who it is.
//
//	/work?ms=N   takes N ms
//	/held?ms=N   takes a ticket, then N ms
//	/crash       ends the process without an answer
func helperServer(kind string) {
	fmt.Println("loading", kind)
	if os.Getenv(ticketsVar) != "" {
		takeTicket()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(7) })
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			takeTicket()
		}
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		<-time.After(time.Duration(ms) * time.Millisecond)
		fmt.Fprintf(w, "%d %s %s %s", os.Getpid(), os.Getenv("K_SERVICE"), os.Getenv("K_REVISION"), kind)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	srv := &http.Server{Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { _ = srv.Serve(ln) }()
	<-ctx.Done()
	_ = srv.Shutdown(context.Background())
	fmt.Println("ended well")
}

// takeTicket waits until it has taken a file out of the folder of tickets: whoever removes one has it.
func takeTicket() {
	dir := os.Getenv(ticketsVar)
	for range time.Tick(5 * time.Millisecond) {
		left, _ := os.ReadDir(dir)
		for _, ticket := range left {
			if os.Remove(filepath.Join(dir, ticket.Name())) == nil {
				return
			}
		}
	}
}

// helperEngine is an engine in the state folder STATE with one service; it prints the process id of its replica.
func helperEngine() {
	e, err := New(Options{StateDir: os.Getenv("STATE"), Log: zerolog.Nop()})
	if err == nil {
		err = e.Apply(context.Background(), helperService("a", "serve"))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		body, _, err := ask(context.Background(), e, "a-00001", "/")
		fmt.Println(body, err)
	}()
	if err := e.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	os.Exit(1)
}
