//go:build cluster

package test

import (
	"encoding/base64"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
	"weir.dev/weir/internal/soon"
)

// received is an event at a sink.
type received struct {
	sink   string
	header http.Header
	body   string
}

// sinks are the Services predictions and dead-letters, which take events outside the cluster.
type sinks struct {
	events chan received
	// refuses has them answer 503; tried gets what they refused.
	refuses atomic.Bool
	tried   chan received
}

func openSinks(t *testing.T, w *weir) *sinks {
	t.Helper()
	s := &sinks{events: make(chan received, 100), tried: make(chan received, 100)}
	for _, name := range []string{"predictions", "dead-letters"} {
		ln, err := w.Listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			e := received{name, r.Header, string(body)}
			if s.refuses.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
				s.tried <- e
				return
			}
			s.events <- e
			rw.WriteHeader(http.StatusAccepted)
		})}
		go func() { _ = srv.Serve(ln) }()
		t.Cleanup(func() { _ = srv.Close() })
		if err := w.Sink(t.Context(), name, ln.Addr().(*net.TCPAddr)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// apply applies a kustomization whose paths are absolute.
func apply(t *testing.T, w *weir, kustomization string) {
	t.Helper()
	dir := t.TempDir()
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" + strings.ReplaceAll(kustomization, harness.Path("."), relative(t, dir, harness.Path("."))) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
}

// putEvent asks a model for a prediction by an event, and returns the status of the answer.
func putEvent(t *testing.T, url, id, model string, header map[string]string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(string(digitsBody)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": id, "Ce-Source": "/test", "Ce-Type": "dev.weir.predict", "Ce-Model": model, "Content-Type": "application/json",
	}
	maps.Copy(all, header)
	for k, v := range all {
		req.Header.Set(k, v)
	}
	return do(t, req).status
}

// TestEvents puts events to the broker: the answer of a good one reaches the sink, a bad one the dead-letter sink with
// the reason, and an answer makes no other.
func TestEvents(t *testing.T) {
	w := sharedWeir(t)
	events := openSinks(t, w).events
	apply(t, w, "components: ["+harness.Path("knative/components/events")+"]")
	broker, err := w.Broker(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put := func(id, model string) int { return putEvent(t, broker, id, model, nil) }
	// A broker takes events before its triggers are ready, and drops them.
	await(t, time.Minute, "the first prediction comes back", func() bool {
		if put("first", "digits") != http.StatusAccepted {
			return false
		}
		select {
		case <-events:
			return true
		case <-time.After(5 * time.Second):
			return false
		}
	})
	// The first may have been put more than once, and what became of it may come later.
	next := func() received {
		for {
			if e := soon.Next(t, "an event at a sink", events); e.header.Get("Ce-Causationid") != "first" && e.header.Get("Ce-Id") != "first" {
				return e
			}
		}
	}
	if status := put("good", "digits"); status != http.StatusAccepted {
		t.Fatalf("the broker answers %d", status)
	}
	if e := next(); e.sink != "predictions" || e.header.Get("Ce-Type") != "dev.weir.prediction" || e.header.Get("Ce-Causationid") != "good" || !strings.Contains(e.body, "predictions") {
		t.Errorf("the answer: %+v", e)
	}
	put("bad", "absent")
	e := next()
	reason, _ := base64.StdEncoding.DecodeString(e.header.Get("Ce-Knativeerrordata"))
	if e.sink != "dead-letters" || e.header.Get("Ce-Id") != "bad" || e.header.Get("Ce-Knativeerrorcode") != "404" || !strings.Contains(string(reason), `no such model`) {
		t.Errorf("the failure: %+v, reason %s", e, reason)
	}
	// The in-memory channel answers when all is delivered: what a loop would make would be here.
	for len(events) > 0 {
		if e := <-events; e.header.Get("Ce-Causationid") != "first" && e.header.Get("Ce-Id") != "first" {
			t.Errorf("an event more than was asked for: %+v", e)
		}
	}
}

// TestEventsLater puts an event to a router with a volume, while its sink takes nothing, and ends the router's pod: the next one has the
// event still, and delivers its answer.
func TestEventsLater(t *testing.T) {
	w := sharedWeir(t)
	s := openSinks(t, w)
	apply(t, w, "components: ["+harness.Path("knative/components/later")+"]\nimages: [{name: weir/router, newName: "+registry("router")+"}]")
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := w.Kubectl(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	kubectl("rollout", "status", "deployment/router-later", "--timeout", "2m")
	at := "http://" + kubectl("get", "service", "router-later", "-o", "jsonpath={.spec.clusterIP}")
	await(t, time.Minute, "the Service leads to the router", func() bool {
		res, err := http.Get(at + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	later := map[string]string{"Prefer": "respond-async"}
	s.refuses.Store(true)
	if status := putEvent(t, at, "kept", "digits", later); status != http.StatusAccepted {
		t.Fatalf("the event is answered by %d, want 202", status)
	}
	if e := soon.Next(t, "the sink to be tried", s.tried); e.header.Get("Ce-Causationid") != "kept" {
		t.Errorf("the sink got %+v", e)
	}
	kubectl("delete", "pod", "--selector", "app=router-later")
	s.refuses.Store(false)
	e := soon.Next(t, "the answer", s.events)
	if e.sink != "predictions" || e.header.Get("Ce-Type") != "dev.weir.prediction" || e.header.Get("Ce-Causationid") != "kept" || !strings.Contains(e.body, "predictions") {
		t.Errorf("the answer: %+v", e)
	}
}
