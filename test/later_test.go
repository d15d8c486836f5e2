package test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir.dev/weir/internal/harness"
)

// TestAnsweredLater: an event is accepted, the sink is down, weir is killed: the answer comes all the same, after the next
// start. What the sink refuses goes to the dead letter.
func TestAnsweredLater(t *testing.T) {
	t.Parallel()
	type delivery struct{ typ, cause, code, body string }
	var up atomic.Bool
	asked := make(chan string, 100)
	got, dead := make(chan delivery, 10), make(chan delivery, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d := delivery{r.Header.Get("Ce-Type"), r.Header.Get("Ce-Causationid"), r.Header.Get("Ce-Knativeerrorcode"), string(body)}
		asked <- d.cause
		switch {
		case r.URL.Path == "/dead":
			dead <- d
		case d.cause == "refused":
			http.Error(w, "not here", http.StatusBadRequest)
		case !up.Load():
			http.Error(w, "down", http.StatusServiceUnavailable)
		default:
			got <- d
		}
	}))
	defer sink.Close()
	dir := shortDir(t)
	start := func(string) (*harness.Weir, error) {
		return harness.Start(dir, "-f", harness.Path("knative/20-digits.yaml"), "--sink", sink.URL+"/", "--dead-letter", sink.URL+"/dead", "--sink-backoff", "50ms")
	}
	w := own(t, start)
	row := "[" + strings.TrimSuffix(strings.Repeat("[0.5],", 8), ",") + "]"
	rows := "[" + strings.TrimSuffix(strings.Repeat(row+",", 8), ",") + "]"
	for _, id := range []string{"first", "refused", "second"} {
		event := fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/test","type":"dev.weir.predict","model":"digits","data":{"instances":[%s]}}`, id, rows)
		req, err := http.NewRequest(http.MethodPost, w.URL("/events"), strings.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/cloudevents+json")
		req.Header.Set("Prefer", "respond-async")
		if a := do(t, req); a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	next := func(from chan delivery) delivery {
		t.Helper()
		select {
		case d := <-from:
			return d
		case <-time.After(time.Minute):
			t.Fatal("nothing came:\n" + w.Tail())
			return delivery{}
		}
	}
	if d := next(dead); d.cause != "refused" || d.code != "400" || d.typ != "dev.weir.prediction" {
		t.Errorf("%+v", d)
	}
	for seen := map[string]bool{}; !seen["first"] || !seen["second"]; {
		select {
		case cause := <-asked:
			seen[cause] = true
		case <-time.After(time.Minute):
			t.Fatal("the sink was not asked for all:\n" + w.Tail())
		}
	}
	if err := w.Kill(); err != nil {
		t.Fatal(err)
	}
	up.Store(true)
	w = own(t, start)
	causes := map[string]bool{}
	for range 2 {
		d := next(got)
		causes[d.cause] = true
		if d.typ != "dev.weir.prediction" || !strings.Contains(d.body, `"predictions"`) {
			t.Errorf("%+v", d)
		}
	}
	if !causes["first"] || !causes["second"] {
		t.Errorf("answers to %v came", causes)
	}
	req, err := http.NewRequest(http.MethodGet, w.URL("/metrics"), nil)
	if err != nil {
		t.Fatal(err)
	}
	await(t, 10*time.Second, "the deliveries are counted", func() bool {
		return strings.Contains(string(do(t, req).body), `weir_router_later_events_total{outcome="delivered"} 2`)
	})
}
