package replica

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// helperVar makes the test binary a replica's program: its value says how it behaves.
const helperVar = "WEIR_TEST_REPLICA"

func TestMain(m *testing.M) {
	if kind := os.Getenv(helperVar); kind != "" {
		help(kind)
		return
	}
	goleak.VerifyTestMain(m)
}

// help is the program of a replica in the tests.
func help(kind string) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch kind {
	case "serve":
		go serve(nil)
		<-term
	case "not ready until a file is there":
		go serve(func() bool { _, err := os.Stat(os.Getenv("READY_FILE")); return err == nil })
		<-term
	case "says goodbye":
		go serve(nil)
		<-term
		fmt.Println("goodbye")
	case "ignores SIGTERM":
		go serve(nil)
		<-term
		fmt.Println("ignored")
		select {}
	case "exits":
		fmt.Println("loading")
		fmt.Fprint(os.Stderr, "no such model: nets\n\n")
		os.Exit(3)
	case "logs JSON":
		fmt.Println(`{"level":"error","error":"no such model: nets","time":"2026-11-24T15:07:58Z","message":"function ends"}`)
		os.Exit(3)
	case "exits well":
	case "panics":
		panic("too many cooks")
	case "says its environment":
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
		dir, _ := os.Getwd()
		fmt.Println("DIR=" + dir)
		go serve(nil)
		<-term
	case "half a line":
		fmt.Print(strings.Repeat("x", longestLine+10) + "\nend")
	case "ignores SIGTERM and says nothing":
		select {}
	case "outlives its parent":
		parent := os.Getppid()
		fmt.Println("listening")
		<-term
		tick := time.NewTicker(time.Millisecond)
		for os.Getppid() == parent {
			<-tick.C
		}
		fmt.Println("tidied up")
	case "forks", "forks well":
		child := exec.Command(os.Args[0])
		behaves := map[string]string{"forks": "ignores SIGTERM and says nothing", "forks well": "outlives its parent"}[kind]
		child.Env = append(os.Environ(), helperVar+"="+behaves, "PORT=0")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("child", child.Process.Pid)
		go serve(nil)
		<-term
	case "sickens":
		var n atomic.Int32
		go serve(func() bool { return n.Add(1) <= 1 })
		select {}
	case "engine":
		r, err := Start(Spec{Name: "left-behind", Command: []string{os.Args[0]}, Env: []string{helperVar + "=" + os.Getenv("KIND")}, Records: os.Getenv("RECORDS"), Output: os.Stdout, Log: zerolog.Nop()})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		<-r.Ready()
		fmt.Println("pid", r.PID())
		select {}
	}
}

// serve listens on PORT and answers 200 while healthy, else 503.
func serve(healthy func() bool) {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if healthy != nil && !healthy() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprint(w, r.Method, " ", r.URL, " ", r.Header.Get("X-Probe"))
	}))
}

// spec is a Spec of the helper.
func spec(t *testing.T, kind string) Spec {
	t.Helper()
	return Spec{
		Name:    strings.Map(func(r rune) rune { return map[bool]rune{true: '-', false: r}[r == '/'] }, t.Name()),
		Service: "imagenet", Configuration: "imagenet", Revision: "imagenet-00001",
		Command: []string{self(t)},
		Env:     []string{helperVar + "=" + kind},
		Log:     zerolog.Nop(),
	}
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a replica that is gone at the end of the test.
func run(t *testing.T, s Spec) *Replica {
	t.Helper()
	r, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Kill()
		within(t, "exit", r.Exited())
	})
	return r
}

// within waits for what another process does.
func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s within 20 s", what)
	}
}

// log is an Output that tests can look at.
type log struct {
	mu    sync.Mutex
	b     bytes.Buffer
	lines []string
	more  chan struct{}
}

func newLog() *log { return &log{more: make(chan struct{}, 1000)} }

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = slices.AppendSeq(l.lines, strings.Lines(string(p)))
	l.more <- struct{}{}
	return l.b.Write(p)
}

// find waits for a line with a prefix and returns the rest of it.
func (l *log) find(t *testing.T, prefix string) string {
	t.Helper()
	for {
		l.mu.Lock()
		for _, w := range l.lines {
			if rest, ok := strings.CutPrefix(w, prefix); ok {
				l.mu.Unlock()
				return strings.TrimSpace(rest)
			}
		}
		l.mu.Unlock()
		select {
		case <-l.more:
		case <-time.After(20 * time.Second):
			t.Fatalf("no output %q within 20 s", prefix)
		}
	}
}

func (l *log) findInt(t *testing.T, prefix string) int {
	t.Helper()
	n, err := strconv.Atoi(l.find(t, prefix))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// running says whether a process is there and no zombie.
func running(pid int) bool { return syscall.Kill(pid, 0) == nil && !isZombie(int32(pid)) }

// records lists a folder.
func records(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}
