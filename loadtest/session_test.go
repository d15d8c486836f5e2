package loadtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
	"weir.dev/weir/loadtest/attack"
	"weir.dev/weir/loadtest/measure"
	"weir.dev/weir/loadtest/scenario"
)

// fakeEngine remembers what it was asked. It is a knative.Engine and no Observer, as an engine may be.
type fakeEngine struct {
	mu       sync.Mutex
	services []string
	calls    []string
	applyErr error
	ready    func(looks int) bool // nil: always
	looks    int
}

func (f *fakeEngine) note(call string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
}

func (f *fakeEngine) Apply(_ context.Context, svc *servingv1.Service) error {
	f.note("apply " + svc.Name)
	return f.applyErr
}

func (f *fakeEngine) Services(context.Context) (out []*servingv1.Service, err error) {
	for _, name := range f.services {
		s := &servingv1.Service{}
		s.Name = name
		out = append(out, s)
	}
	return out, nil
}

func (f *fakeEngine) Status(context.Context) ([]knative.ServiceStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	return []knative.ServiceStatus{{
		Name: "new", Model: true, Ready: f.ready == nil || f.ready(f.looks), Message: "it loads",
		Revisions: []knative.RevisionStatus{{Name: "new-00001", Ready: 2, Wanted: 2}},
	}}, nil
}

func (f *fakeEngine) Logs(context.Context, string, bool, io.Writer) error { return nil }

func (f *fakeEngine) Delete(_ context.Context, name string) error {
	f.note("delete " + name)
	return nil
}

func (f *fakeEngine) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func manifest(t *testing.T, names ...string) string {
	t.Helper()
	var docs []string
	for _, name := range names {
		docs = append(docs, "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: "+name+"}\nspec: {template: {spec: {containers: [{image: weir/digits}]}}}\n")
	}
	path := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(docs, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func users(name, url string, d time.Duration) scenario.Load {
	return scenario.Load{
		Name: name, Target: scenario.Target{URL: url, Timeout: time.Second},
		Stages: []scenario.Stage{{Name: "all", Duration: d, Users: &scenario.Users{From: 1, To: 1, Think: 10 * time.Millisecond, ThinkMost: 10 * time.Millisecond}}},
	}
}

func target(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestServicesComeAndGo(t *testing.T) {
	t.Parallel()
	url := target(t)
	e := &fakeEngine{services: []string{"old"}, ready: func(looks int) bool { return looks > 2 }}
	rows := 0
	s, err := Start(t.Context(), Options{
		Scenario: &scenario.Scenario{
			Name: "s", Services: []string{manifest(t, "old", "new")}, Changes: []scenario.Change{{At: 10 * time.Millisecond, Manifest: manifest(t, "new")}},
			Loads: []scenario.Load{users("a", url, 1200*time.Millisecond), users("b", url, 100*time.Millisecond)},
		},
		Engine: e, EngineName: "fake",
		Row: func(measure.Row, []attack.State) { rows++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := s.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"apply old", "apply new", "apply new", "delete new"}; !slices.Equal(e.called(), want) {
		t.Errorf("the engine was asked %q, want %q", e.called(), want)
	}
	if rows != len(run.Rows) || rows < 2 || run.Engine != "fake" || run.Rows[rows-1].Revisions["new-00001"].Ready != 2 {
		t.Errorf("%d rows told of %d; the last: %+v", rows, len(run.Rows), run.Rows[len(run.Rows)-1])
	}
	if len(run.Summaries) < 3 || run.Summaries[0].Requests == 0 || len(run.Notes) != 1 || !strings.Contains(run.Notes[0], "was applied") {
		t.Errorf("summaries %+v, notes %q", run.Summaries, run.Notes)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	url := target(t)
	for _, tt := range []struct {
		name string
		o    Options
		says string
	}{
		{"a model without weir", Options{Scenario: &scenario.Scenario{Loads: []scenario.Load{{Name: "m", Target: scenario.Target{Model: "m"}}}}}, "weir up -f knative/"},
		{"services without an engine", Options{Scenario: &scenario.Scenario{Services: []string{manifest(t, "new")}, Loads: []scenario.Load{users("a", url, time.Second)}}}, "weir up -f knative/"},
		{"a change that is no Service", Options{
			Engine: &fakeEngine{},
			Scenario: &scenario.Scenario{
				Changes: []scenario.Change{{At: time.Second, Manifest: manifest(t)}}, Loads: []scenario.Load{users("a", url, time.Second)},
			},
		}, "change at 1s"},
		{"a service that is refused", Options{
			Engine:   &fakeEngine{applyErr: errors.New("no such class")},
			Scenario: &scenario.Scenario{Services: []string{manifest(t, "new")}, Loads: []scenario.Load{users("a", url, time.Second)}},
		}, "service new: no such class"},
		{"another host", Options{Scenario: &scenario.Scenario{Loads: []scenario.Load{users("a", "http://192.0.2.1", time.Second)}}}, "--allow-host"},
		{"an address that a person gave", Options{Asked: true, Address: "192.0.2.1:80", Scenario: &scenario.Scenario{Loads: []scenario.Load{{Name: "m", Target: scenario.Target{Model: "m"}}}}}, "--allow-host 192.0.2.1"},
		{"an ingress that a person gave", Options{Asked: true, Address: "http://router.example.invalid", At: "192.0.2.1:80", Engine: &fakeEngine{}, Scenario: &scenario.Scenario{
			Loads: []scenario.Load{{Name: "m", Target: scenario.Target{Model: "m"}}},
		}}, "--allow-host 192.0.2.1"},
		{"a model that is not there", Options{Address: "127.0.0.1:1", Engine: &fakeEngine{}, Scenario: &scenario.Scenario{
			Loads: []scenario.Load{{Name: "m", Target: scenario.Target{Model: "gone"}}},
		}}, `load m: there is no model "gone": there are new`},
		{"a tag that is not there", Options{Address: "127.0.0.1:1", Engine: &fakeEngine{}, Scenario: &scenario.Scenario{
			Loads: []scenario.Load{{Name: "m", Target: scenario.Target{Model: "new", Tag: "next"}}},
		}}, `load m: model new has no tag "next": there are none`},
		{"an address that nobody knows", Options{Address: "127.0.0.1:1", Scenario: &scenario.Scenario{Loads: []scenario.Load{users("a", "http://192.0.2.1", time.Second)}}}, "--allow-host"},
	} {
		if _, err := Start(t.Context(), tt.o); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	t.Run("a service that does not get ready", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e := &fakeEngine{ready: func(int) bool { cancel(); return false }}
		_, err := Start(ctx, Options{Engine: e, Scenario: &scenario.Scenario{Services: []string{manifest(t, "new")}, Loads: []scenario.Load{users("a", url, time.Second)}}})
		if err == nil || !strings.Contains(err.Error(), "new: it loads") || !slices.Contains(e.called(), "delete new") {
			t.Errorf("%v, %q; want why, and the service deleted", err, e.called())
		}
	})
}

func TestHostOf(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1", "http://weir.example:80/x": "weir.example", "https://weir.example": "weir.example", "[::1]:80": "::1",
	} {
		if got := hostOf(address); got != want {
			t.Errorf("hostOf(%s) is %s, want %s", address, got, want)
		}
	}
}
