package router

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/prometheus/client_golang/prometheus"

	"weir.dev/weir/internal/soon"
	"weir.dev/weir/router/later"
)

// replicaOfEvents answers an event with one, like a function does; the path of its data says with which status.
func replicaOfEvents(w http.ResponseWriter, r *http.Request) {
	e, err := binding.ToEvent(r.Context(), cehttp.NewMessageFromHttpRequest(r))
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	status := http.StatusOK
	_, _ = fmt.Sscanf(string(e.Data()), `"status %d"`, &status)
	reply := event.New()
	reply.SetID("answer-to-" + e.ID())
	reply.SetSource("/replica")
	reply.SetType(TypePrediction)
	reply.SetExtension("causationid", e.ID())
	reply.SetExtension("revision", r.Header.Get("Test-Revision"))
	_ = reply.SetData(e.DataContentType(), e.Data())
	ctx := r.Context()
	if strings.HasPrefix(r.Header.Get("Content-Type"), event.ApplicationCloudEventsJSON) {
		ctx = binding.WithForceStructured(ctx)
	}
	_ = cehttp.WriteResponseWriter(ctx, binding.ToMessage(&reply), status, w)
}

// place is a sink, or a dead letter.
func place(t *testing.T) (url string, next func() *event.Event) {
	t.Helper()
	taken := make(chan *event.Event, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e, err := binding.ToEvent(r.Context(), cehttp.NewMessageFromHttpRequest(r))
		if err != nil || e.Validate() != nil {
			t.Errorf("no event: %v", err)
			return
		}
		taken <- e
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() *event.Event {
		t.Helper()
		select {
		case e := <-taken:
			return e
		case <-time.After(20 * time.Second):
			t.Fatal("nothing came")
			return nil
		}
	}
}

// startLater starts a router with a queue, and runs it.
func startLater(t *testing.T, o later.Options) *fixture {
	t.Helper()
	o.File, o.BackOff, o.MaxBackOff = filepath.Join(t.TempDir(), "events.db"), time.Millisecond, 5*time.Millisecond
	registry := prometheus.NewRegistry()
	o.Registry = registry
	q, err := later.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, Options{Backend: replicaBackend(t, replicaOfEvents), Later: q, Registry: registry})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.rt.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := soon.Next(t, "Run's end", ended); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestAnswerLater: 202, then the answer comes to the sink, in each of the modes of events.
func TestAnswerLater(t *testing.T) {
	t.Parallel()
	sink, next := place(t)
	other, atOther := place(t)
	dead, buried := place(t)
	f := startLater(t, later.Options{Sink: sink, Allow: []string{other}, DeadLetter: dead, Retries: 2})
	const batchType = "application/cloudevents-batch+json"
	async := func(h map[string]string) map[string]string {
		out := map[string]string{"Prefer": "reply, Respond-Async; wait=10"}
		for k, v := range h {
			out[k] = v
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   string
		next   func() *event.Event
		typ    string
		ext    map[string]string
	}{
		{"binary", async(binary("Ce-Model", "digits")), `1`, next, TypePrediction, map[string]string{"causationid": "e-1", "revision": "digits-00001"}},
		{"by tag", async(binary("Ce-Model", "imagenet", HeaderTag, "lite2")), `1`, next, TypePrediction, map[string]string{"revision": "imagenet-00002"}},
		{"structured", async(structured), envelope(`,"model":"digits","data":1`), next, TypePrediction, map[string]string{"causationid": "e-1"}},
		{"to a sink of its own", binary("Ce-Model", "digits", "Ce-Sink", other+"/below"), `1`, atOther, TypePrediction, map[string]string{"causationid": "e-1"}},
		{"an error that stays", async(binary("Ce-Model", "digits")), `"status 400"`, next, TypePrediction, nil},
		{"an error that may not", async(binary("Ce-Model", "digits")), `"status 503"`, buried, TypePredict,
			map[string]string{"knativeerrorcode": "503", "knativeerrordest": "/v1/models/digits", "model": "digits"}},
		{"batch", async(map[string]string{"Content-Type": batchType}), "[" + envelope(`,"model":"digits","data":1`) + "]", next, TypePrediction, map[string]string{"causationid": "e-1"}},
	} {
		got := f.do(t, ask{path: "/", header: tt.header, body: tt.body})
		if got.status != http.StatusAccepted || got.body != "" || got.header.Get("Preference-Applied") != "respond-async" {
			t.Errorf("%s: %d %s", tt.name, got.status, got.body)
			continue
		}
		e := tt.next()
		if e.Type() != tt.typ {
			t.Errorf("%s: %v", tt.name, e)
		}
		for name, want := range tt.ext {
			if e.Extensions()[name] != want {
				t.Errorf("%s: %s is %v, want %s", tt.name, name, e.Extensions()[name], want)
			}
		}
	}
	metrics := f.do(t, ask{method: "GET", path: "/metrics"}).body
	for _, line := range []string{`weir_router_later_events_total{outcome="accepted"} 7`, `weir_router_later_attempts_total{result="failed",to="model"} 3`, "weir_router_later_waiting "} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %s in the metrics", line)
		}
	}
}

// TestRefusedLater: what can be refused is refused at once, and nothing of it comes later.
func TestRefusedLater(t *testing.T) {
	t.Parallel()
	sink, next := place(t)
	f := startLater(t, later.Options{Sink: sink, Allow: []string{"http://allowed.example/team"}, Events: 3})
	batch := map[string]string{"Content-Type": "application/cloudevents-batch+json", "Prefer": "respond-async"}
	good := envelope(`,"model":"digits","data":1`)
	for _, tt := range []struct {
		name   string
		header map[string]string
		body   string
		status int
		text   string
	}{
		{"no model", binary("Ce-Model", "cats"), "1", 404, "no such model"},
		{"an answer", binary("Ce-Type", TypePrediction), "1", 400, "would make a loop"},
		{"too late", binary("Ce-Model", "digits", "Ce-Expirytime", "2020-01-01T00:00:00Z"), "1", 504, "deadline"},
		{"another sink", binary("Ce-Model", "digits", "Ce-Sink", "http://169.254.169.254/"), "1", 403, "--allow-sink"},
		{"beside what is allowed", binary("Ce-Model", "digits", "Ce-Sink", "http://allowed.example/teams"), "1", 403, "no sink of this router"},
		{"zipped", binary("Ce-Model", "digits", "Content-Encoding", "gzip"), "1", 415, "send it as it is"},
		{"a batch with a wrong one", batch, "[" + good + "," + envelope(`,"model":"cats"`) + "]", 404, "event 2 of the batch: no such model"},
		{"a batch too many", batch, "[" + strings.Join([]string{good, good, good, good}, ",") + "]", 503, "too many events wait"},
	} {
		tt.header["Prefer"] = "respond-async"
		got := f.do(t, ask{path: "/", header: tt.header, body: tt.body})
		_, _, text := errorEvent(t, got)
		if got.status != tt.status || !strings.Contains(text, tt.text) || (got.status == 503) != (got.header.Get("Retry-After") != "") {
			t.Errorf("%s: %d %s", tt.name, got.status, text)
		}
	}
	mixed := f.do(t, ask{path: "/", header: map[string]string{"Content-Type": batch["Content-Type"]},
		body: "[" + envelope(`,"model":"digits","sink":"`+sink+`"`) + "," + good + "]"})
	if mixed.status != 400 || !strings.Contains(mixed.body, "names no sink") {
		t.Errorf("mixed: %d %s", mixed.status, mixed.body)
	}
	if got := f.do(t, ask{path: "/", header: batch, body: "[" + good + "]"}); got.status != 202 {
		t.Errorf("%d %s", got.status, got.body)
	}
	next()
}

// TestNoSink: a router without a sink leaves the preference unheeded and answers at once.
func TestNoSink(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, replicaOfEvents)})
	header := binary("Ce-Model", "digits", "Prefer", "respond-async")
	if got := f.do(t, ask{path: "/", header: header, body: "1"}); got.status != 200 || got.header.Get("Ce-Causationid") != "e-1" || got.header.Get("Preference-Applied") != "" {
		t.Errorf("%d %v", got.status, got.header)
	}
	header["Ce-Sink"] = "http://a.example"
	if got := f.do(t, ask{path: "/", header: header, body: "1"}); got.status != 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
}
