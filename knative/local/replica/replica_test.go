package replica

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
)

func TestLife(t *testing.T) {
	t.Parallel()
	s := spec(t, "says goodbye")
	out := newLog()
	s.Output, s.Records = out, t.TempDir()
	s.Readiness = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz"}}}
	r := run(t, s)
	if got := records(t, s.Records); len(got) != 1 {
		t.Errorf("records before it is ready: %v", got)
	}
	within(t, "readiness", r.Ready())
	resp, err := http.Get("http://" + r.Addr() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != "GET /x " {
		t.Errorf("answer %q", b)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if cpu, rss, err := r.Usage(); err != nil || cpu < 0 || rss < 1<<20 {
		t.Errorf("usage %v, %d bytes, error %v", cpu, rss, err)
	}
	r.Stop()
	r.Stop()
	within(t, "exit", r.Exited())
	if err := r.Err(); err != nil {
		t.Errorf("after Stop: %v", err)
	}
	out.find(t, "goodbye")
	if running(r.PID()) {
		t.Error("the process is there after Exited")
	}
	if got := records(t, s.Records); len(got) != 0 {
		t.Errorf("records in the end: %v", got)
	}
	if _, _, err := r.Usage(); err == nil {
		t.Error("usage of a process that is gone")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_ENGINE", "x")
	s := spec(t, "says its environment")
	out := newLog()
	s.Output, s.Dir = out, t.TempDir()
	s.Env = append(s.Env, "MODEL=a=b", "PORT=1", "K_REVISION=other", "HOME=/nowhere")
	r := run(t, s)
	within(t, "readiness", r.Ready())
	out.find(t, "DIR=")
	_, port, _ := strings.Cut(r.Addr(), ":")
	for _, want := range []string{
		"PORT=" + port, "K_SERVICE=imagenet", "K_CONFIGURATION=imagenet", "K_REVISION=imagenet-00001",
		"TF_CPP_MIN_LOG_LEVEL=2", "TF_ENABLE_ONEDNN_OPTS=1", "HOST=127.0.0.1", "MODEL=a=b", "HOME=/nowhere", "PATH=" + os.Getenv("PATH"),
	} {
		if !slices.Contains(out.lines, want+"\n") {
			t.Errorf("no %s in the environment", want)
		}
	}
	if dir := out.find(t, "DIR="); filepath.Base(dir) != filepath.Base(s.Dir) {
		t.Errorf("works in %s, want %s", dir, s.Dir)
	}
	for _, line := range out.lines {
		if strings.HasPrefix(line, "SECRET") {
			t.Errorf("inherited %s", line)
		}
	}
}

func TestDeath(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind string
		want string
	}{
		{kind: "exits", want: "ended by itself: exit status 3: no such model: nets"},
		{kind: "logs JSON", want: "ended by itself: exit status 3: no such model: nets"},
		{kind: "exits well", want: "ended by itself: exit status 0"},
		{kind: "panics", want: "ended by itself: exit status 2: panic: too many cooks"},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			t.Parallel()
			s := spec(t, tt.kind)
			s.Records = t.TempDir()
			r := run(t, s)
			within(t, "exit", r.Exited())
			if err := r.Err(); err == nil || !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("error %v, want …%s", err, tt.want)
			}
			select {
			case <-r.Ready():
				t.Error("it was ready")
			default:
			}
			if got := records(t, s.Records); len(got) != 0 {
				t.Errorf("records in the end: %v", got)
			}
		})
	}
}

func TestKilledByAnother(t *testing.T) {
	t.Parallel()
	r := run(t, spec(t, "serve"))
	within(t, "readiness", r.Ready())
	p, err := os.FindProcess(r.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, "exit", r.Exited())
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("error %v", err)
	}
}

func TestGrace(t *testing.T) {
	t.Parallel()
	// On a busy machine a short grace may end before the program has seen SIGTERM: then a longer one is tried.
	for grace, seen := 100*time.Millisecond, false; !seen; grace *= 2 {
		s := spec(t, "ignores SIGTERM")
		out := newLog()
		s.Output, s.Grace = out, grace
		r := run(t, s)
		within(t, "readiness", r.Ready())
		from := time.Now()
		r.Stop()
		within(t, "exit", r.Exited())
		if d := time.Since(from); d < grace {
			t.Fatalf("killed after %v, before the grace of %v ended", d, grace)
		}
		if err := r.Err(); err != nil {
			t.Errorf("after Stop: %v", err)
		}
		seen = slices.Contains(out.lines, "ignored\n")
	}
}

// TestChildrenEnd has a program whose child ignores SIGTERM and holds its output.
func TestChildrenEnd(t *testing.T) {
	t.Parallel()
	ends := map[string]func(*Replica){
		"stopped": (*Replica).Stop,
		"killed":  (*Replica).Kill,
		"died": func(r *Replica) {
			if p, err := os.FindProcess(r.PID()); err == nil {
				_ = p.Kill()
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "forks")
			out := newLog()
			s.Output, s.Grace = out, 100*time.Millisecond
			r := run(t, s)
			within(t, "readiness", r.Ready())
			child := out.findInt(t, "child ")
			if !running(child) {
				t.Fatal("no child")
			}
			end(r)
			within(t, "exit", r.Exited())
			if running(child) {
				t.Error("its child runs on")
			}
		})
	}
}

// TestChildrenHaveTheGraceToo has a program that ends at once and a child that still has something to do.
func TestChildrenHaveTheGraceToo(t *testing.T) {
	t.Parallel()
	s := spec(t, "forks well")
	out := newLog()
	s.Output = out
	r := run(t, s)
	within(t, "readiness", r.Ready())
	out.find(t, "listening") // before, SIGTERM would just end it
	r.Stop()
	within(t, "exit", r.Exited())
	out.find(t, "tidied up")
}

func BenchmarkStartToReady(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	s := Spec{Name: "bench", Command: []string{path}, Env: []string{helperVar + "=serve"}, Records: b.TempDir(), Log: zerolog.Nop()}
	s.Readiness = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz"}}}
	for b.Loop() {
		r, err := Start(s)
		if err != nil {
			b.Fatal(err)
		}
		<-r.Ready()
		r.Kill()
		<-r.Exited()
	}
}

func TestOutputComesInWholeLines(t *testing.T) {
	t.Parallel()
	s := spec(t, "half a line")
	out := newLog()
	s.Output = out
	r := run(t, s)
	within(t, "exit", r.Exited())
	want := []string{strings.Repeat("x", longestLine) + "\n", strings.Repeat("x", 10) + "\n", "end\n"}
	if !slices.Equal(out.lines, want) {
		t.Errorf("%d writes, %d bytes; want %d writes", len(out.lines), out.b.Len(), len(want))
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: portOf(9999)}}}
	https := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Scheme: corev1.URISchemeHTTPS}}}
	tests := []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"no name", func(s *Spec) { s.Name = "" }, "cannot be a file's name"},
		{"a path as name", func(s *Spec) { s.Name = "../x" }, "cannot be a file's name"},
		{"no command", func(s *Spec) { s.Command = nil }, "there is no command"},
		{"no such program", func(s *Spec) { s.Dir, s.Command = dir, []string{"./missing"} }, "build it (make build)"},
		{"not executable", func(s *Spec) { s.Dir, s.Command = dir, []string{"./text"} }, "is not executable"},
		{"a folder", func(s *Spec) { s.Command = []string{dir} }, "is a folder"},
		{"not in PATH", func(s *Spec) { s.Command = []string{"weir-no-such-program"} }, "is not in PATH"},
		{"no such folder", func(s *Spec) { s.Dir = filepath.Join(dir, "no") }, "does not exist"},
		{"another port", func(s *Spec) { s.Readiness = other }, "is not the container's port 8080"},
		{"https", func(s *Spec) { s.Liveness = https }, "liveness probe: scheme HTTPS is not supported"},
		{"records are in the way", func(s *Spec) { s.Records = filepath.Join(dir, "text") }, "write its record"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := spec(t, "serve")
			tt.change(&s)
			r, err := Start(s)
			if err == nil {
				r.Kill()
				<-r.Exited()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	s := spec(t, "serve")
	s.Command = []string{filepath.Join(dir, "missing")}
	if _, err := Start(s); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing program: %v is not fs.ErrNotExist", err)
	}
}
