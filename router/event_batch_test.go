package router

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"
)

// TestBatch sends events for several models in one request: each is answered, in order, and a bad one spoils no other.
func TestBatch(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Backend: replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e event.Event
		if err := json.Unmarshal(body, &e); err != nil || r.Header.Get("Content-Type") != event.ApplicationCloudEventsJSON {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if e.Subject() == "plain" {
			_, _ = io.WriteString(w, "no event")
			return
		}
		e.SetType(TypePrediction)
		e.SetSource("/" + r.Header.Get("Test-Revision"))
		w.Header().Set("Content-Type", event.ApplicationCloudEventsJSON)
		_ = json.NewEncoder(w).Encode(e)
	})})
	batch := "[" + strings.Join([]string{
		envelope(`,"model":"digits"`), envelope(`,"model":"imagenet","modeltag":"lite2"`), envelope(`,"model":"cats"`), envelope(""),
		envelope(`,"model":"digits","subject":"plain"`), envelope(`,"model":"digits","expirytime":"2020-01-01T00:00:00Z"`), `7`,
	}, ",") + "]"
	got := f.do(t, ask{path: "/events", body: batch, header: map[string]string{"Content-Type": event.ApplicationCloudEventsBatchJSON}})
	var events []event.Event
	if err := json.Unmarshal([]byte(got.body), &events); err != nil || got.status != http.StatusOK || got.header.Get("Content-Type") != event.ApplicationCloudEventsBatchJSON {
		t.Fatalf("%d %v: %v: %s", got.status, got.header, err, got.body)
	}
	want := []struct{ kind, says string }{
		{TypePrediction, "/digits-00001"}, {TypePrediction, "/imagenet-00002"}, {TypeError, `no such model \"cats\"`}, {TypeError, "needs the extension attribute model"},
		{TypeError, "did not answer with an event"}, {TypeError, `"status":504`}, {TypeError, "invalid CloudEvent"},
	}
	if len(events) != len(want) {
		t.Fatalf("%d answers, want %d: %s", len(events), len(want), got.body)
	}
	for i, e := range events {
		if e.Type() != want[i].kind || !strings.Contains(e.Source()+string(e.Data()), want[i].says) {
			t.Errorf("answer %d: %v; want %v", i, e, want[i])
		}
	}
	if got := f.do(t, ask{path: "/", body: "[]", header: map[string]string{"Content-Type": event.ApplicationCloudEventsBatchJSON}}); got.status != 200 || got.body != "[]" {
		t.Errorf("an empty batch: %d %s", got.status, got.body)
	}
}
