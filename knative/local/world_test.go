package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
)

// patience bounds every wait for other processes.
const patience = 60 * time.Second

// world is an engine that runs.
type world struct {
	*Engine
	t    *testing.T
	dir  string
	stop func() error // ends the engine and checks that no process is left
}

// quick are settings of the autoscaler for tests that go to zero.
func quick() map[string]string {
	return map[string]string{"allow-zero-initial-scale": "true", "scale-to-zero-grace-period": "1s", "stable-window": "6s"}
}

// begin runs an engine in dir until the end of the test.
func begin(t *testing.T, dir string) *world {
	t.Helper()
	e, err := New(Options{StateDir: dir, Port: 8080, Autoscaler: quick(), Version: "test", Address: "127.0.0.1:8080", Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	w := &world{Engine: e, t: t, dir: dir}
	w.stop = sync.OnceValue(func() error {
		cancel()
		defer func() {
			if left := records(t, dir); len(left) > 0 {
				t.Errorf("replicas are left: %v", left)
			}
		}()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("the engine does not end")
		}
	})
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func records(t *testing.T, dir string) []string {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "records", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// helperService is a Service whose replicas are this test binary.
func helperService(name, kind string, change ...func(*servingv1.Service)) *servingv1.Service {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	svc := &servingv1.Service{}
	svc.Name = name
	svc.Labels = map[string]string{knative.LabelModel: name}
	t := &svc.Spec.Template
	t.Labels = map[string]string{knative.LabelModel: name}
	t.Annotations = map[string]string{knative.AnnotationLocalCommand: self}
	t.Spec.Containers = []corev1.Container{{
		Image:          "weir/test",
		Env:            []corev1.EnvVar{{Name: helperVar, Value: kind}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(0)}}},
	}}
	for _, f := range change {
		f(svc)
	}
	return svc
}

func annotate(key, v string) func(*servingv1.Service) {
	return func(s *servingv1.Service) { s.Spec.Template.Annotations[key] = v }
}

func scale(initial, most int) func(*servingv1.Service) {
	return func(s *servingv1.Service) {
		annotate(autoscaling.InitialScaleAnnotationKey, strconv.Itoa(initial))(s)
		annotate(autoscaling.MaxScaleAnnotationKey, strconv.Itoa(most))(s)
	}
}

func minScale(n int) func(*servingv1.Service) {
	return annotate(autoscaling.MinScaleAnnotationKey, strconv.Itoa(n))
}

func concurrency(n int64) func(*servingv1.Service) {
	return func(s *servingv1.Service) { s.Spec.Template.Spec.ContainerConcurrency = &n }
}

func named(revision string) func(*servingv1.Service) {
	return func(s *servingv1.Service) { s.Spec.Template.Name = revision }
}

// tickets let a test say when helpers go on, however slow the machine is: a replica takes one before it gets ready, and so does
// a request to /held.
type tickets string

func newTickets(t *testing.T) tickets { return tickets(t.TempDir()) }

func (dir tickets) needed(s *servingv1.Service) {
	c := &s.Spec.Template.Spec.Containers[0]
	c.Env = append(c.Env, corev1.EnvVar{Name: ticketsVar, Value: string(dir)})
}

// give lets n go on.
func (dir tickets) give(t *testing.T, n int) {
	t.Helper()
	for range n {
		f, err := os.CreateTemp(string(dir), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func traffic(targets ...servingv1.TrafficTarget) func(*servingv1.Service) {
	return func(s *servingv1.Service) { s.Spec.Traffic = targets }
}

func to(revision, tag string, percent int64) servingv1.TrafficTarget {
	latest := false
	return servingv1.TrafficTarget{RevisionName: revision, Tag: tag, Percent: &percent, LatestRevision: &latest}
}

func (w *world) apply(svc *servingv1.Service) {
	w.t.Helper()
	if err := w.Apply(w.t.Context(), svc); err != nil {
		w.t.Fatal(err)
	}
}

// service returns what runs of a service.
func (w *world) service(name string) knative.ServiceStatus {
	w.t.Helper()
	all, err := w.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return knative.ServiceStatus{}
}

func revisionOf(s knative.ServiceStatus, name string) knative.RevisionStatus {
	for _, r := range s.Revisions {
		if r.Name == name {
			return r
		}
	}
	return knative.RevisionStatus{}
}

// await waits for what processes do.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not so within %v", what, patience)
		}
	}
}

func (w *world) awaitReady(service string) {
	w.t.Helper()
	await(w.t, service+" is ready", func() bool { return w.service(service).Ready })
}

// ask sends a request to a revision and returns the answer.
func ask(ctx context.Context, b http.RoundTripper, revision, path string) (body string, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+revision+path, nil)
	if err != nil {
		return "", nil, err
	}
	resp, err := b.RoundTrip(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, data)
	}
	return string(data), resp.Header, err
}

// must asks and returns the process id of the replica that answered, and its header.
func (w *world) must(revision, path string) (pid int, header http.Header) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	body, header, err := ask(ctx, w, revision, path)
	if err != nil {
		w.t.Fatal(err)
	}
	return pidOf(body), header
}

func pidOf(body string) int {
	pid, _ := strconv.Atoi(strings.Fields(body + " 0")[0])
	return pid
}

func alive(pid int) bool { return pid > 0 && syscall.Kill(pid, 0) == nil }

// load is callers that ask all the time.
type load struct {
	mu     sync.Mutex
	bodies map[string]int
	errs   []error
	end    func()
}

// callers start n callers; where says which revision to ask next.
func (w *world) callers(n int, path string, where func() string) *load {
	l := &load{bodies: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	for range n {
		g.Go(func() {
			for ctx.Err() == nil {
				// An asked request is always finished.
				body, _, err := ask(context.Background(), w, where(), path)
				l.note(body, err)
			}
		})
	}
	l.end = sync.OnceFunc(func() { cancel(); g.Wait() })
	w.t.Cleanup(l.end)
	return l
}

func (l *load) note(body string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	l.bodies[body]++
}

// answered returns how many requests were answered by a replica of the words.
func (l *load) answered(words string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for body, times := range l.bodies {
		if strings.Contains(body, words) {
			n += times
		}
	}
	return n
}

func (l *load) failed() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errs
}
