package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
)

// eventOf is a structured event with more members.
func eventOf(id, more string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"/t","type":"dev.weir.predict","datacontenttype":"application/json"` + more + `}`
}

func TestEventBatch(t *testing.T) {
	t.Parallel()
	const data = `,"data":{"instances":[[1,2,3]]}`
	late, soon := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano)
	batch := "[" + strings.Join([]string{
		eventOf("good", data),
		eventOf("bad", `,"data":{"instances":[[1]]}`),
		eventOf("late", `,"expirytime":"`+late+`"`+data),
		eventOf("soon", `,"expirytime":"`+soon+`"`+data),
		eventOf("never", `,"expirytime":"tomorrow"`+data),
		eventOf("other", `,"model":"dog"`+data),
		strings.Replace(eventOf("loop", data), "dev.weir.predict", TypePrediction, 1),
		`{"specversion":"1.0","id":"half"}`,
		`7`,
	}, ",") + "]"
	w := call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}, body: batch}.do(t, toyServer(t).Handler())
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != event.ApplicationCloudEventsBatchJSON {
		t.Fatalf("status %d, %v: %s", w.Code, w.Header(), w.Body)
	}
	var got []event.Event
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []struct{ cause, kind, data string }{
		{"good", TypePrediction, "[1.0,2.0,3.0]"}, {"bad", TypeError, `"status":400`}, {"late", TypeError, `"status":504`},
		{"soon", TypePrediction, "[1.0,2.0,3.0]"}, {"never", TypeError, "expected a time such as"}, {"other", TypeError, `"status":404`},
		{"loop", TypeError, "would make a loop"}, {"half", TypeError, "invalid CloudEvent"}, {"", TypeError, `"status":400`},
	}
	if len(got) != len(want) {
		t.Fatalf("%d answers, want %d: %s", len(got), len(want), w.Body)
	}
	ids := map[string]bool{}
	for i, e := range got {
		cause, _ := extension(&e, "causationid")
		if cause != want[i].cause || e.Type() != want[i].kind || !strings.Contains(string(e.Data()), want[i].data) {
			t.Errorf("answer %d: %v; want %v", i, e, want[i])
		}
		if ids[e.ID()] {
			t.Errorf("id %s is there twice", e.ID())
		}
		ids[e.ID()] = true
	}
	w = call{path: "/", header: map[string]string{"Content-Type": "application/cloudevents-batch+json"}, body: "[]"}.do(t, toyServer(t).Handler())
	if w.Code != http.StatusOK || w.Body.String() != "[]" {
		t.Errorf("an empty batch: %d %s", w.Code, w.Body)
	}
}
