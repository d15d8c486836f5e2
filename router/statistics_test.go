package router

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weir.dev/weir/knative"
	inferencepb "weir.dev/weir/proto/inference"
)

// TestStatistics asks for those of all models: of each revision with a replica, of no other, whatever some of them answer.
func TestStatistics(t *testing.T) {
	t.Parallel()
	replica := replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		revision := r.Header.Get("Test-Revision")
		model, version, _ := strings.Cut(revision, "-0000")
		if r.URL.Path != "/v2/models/"+model+"/stats" || model == "other" {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `{"model_stats": [{"name": %q, "version": %q, "inference_count": 7, "inference_stats": {"success": {"count": 3, "ns": 5}}, "new": true}]}`, model, version)
	})
	revision := func(name string, ready int) knative.RevisionStatus {
		return knative.RevisionStatus{Name: name, State: knative.StateReady, Ready: ready}
	}
	backend := &fakeBackend{
		RoundTripFn: func(r *http.Request) (*http.Response, error) {
			switch r.URL.Host {
			case "digits-00001", "imagenet-00001", "imagenet-00003", "other-00001":
				return replica.RoundTrip(r)
			case "gone-00001":
				return nil, knative.ErrNotReady
			}
			t.Errorf("%s was asked", r.URL.Host)
			return nil, knative.ErrNoRevision
		},
		StatusFn: func(context.Context) ([]knative.ServiceStatus, error) {
			return []knative.ServiceStatus{
				{Name: "digits", Model: true, Revisions: []knative.RevisionStatus{revision("digits-00001", 1)}},
				{Name: "gone", Model: true, Revisions: []knative.RevisionStatus{revision("gone-00001", 1)}},
				{Name: "imagenet", Model: true, Revisions: []knative.RevisionStatus{revision("imagenet-00001", 2), revision("imagenet-00002", 0), revision("imagenet-00003", 1)}},
				{Name: "other", Model: true, Revisions: []knative.RevisionStatus{revision("other-00001", 1)}},
				{Name: "router", Model: true, Revisions: []knative.RevisionStatus{revision("router-00001", 1)}},
				{Name: "shop", Revisions: []knative.RevisionStatus{revision("shop-00001", 1)}},
			}, nil
		},
	}
	f := start(t, Options{Backend: backend})
	one := func(model, version string) string {
		return `{"name":"` + model + `","version":"` + version + `","inference_count":7,"inference_stats":{"success":{"count":3,"ns":5}},"new":true}`
	}
	want := `{"model_stats":[` + one("digits", "1") + "," + one("imagenet", "1") + "," + one("imagenet", "3") + "]}\n"
	for _, path := range []string{"/v2/models/stats", "/v2/models/stats/"} {
		if got := f.do(t, ask{method: "GET", path: path}); got.status != http.StatusOK || got.body != want {
			t.Errorf("%s: %d %s, want %s", path, got.status, got.body, want)
		}
	}
	if got := f.do(t, ask{path: "/v2/models/stats"}); got.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.status)
	}
	c := inferencepb.NewGRPCInferenceServiceClient(f.conn(t))
	got, err := c.ModelStatistics(t.Context(), &inferencepb.ModelStatisticsRequest{})
	if err != nil || len(got.GetModelStats()) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	if s := got.GetModelStats()[2]; s.GetName() != "imagenet" || s.GetVersion() != "3" || s.GetInferenceCount() != 7 || s.GetInferenceStats().GetSuccess().GetNs() != 5 {
		t.Errorf("%v", s)
	}
}

// TestLongStatistics has revisions with many statistics: up to 1 MiB each, and a line in the log, once, about one that has more.
func TestLongStatistics(t *testing.T) {
	t.Parallel()
	backend := replicaBackend(t, func(w http.ResponseWriter, r *http.Request) {
		size := 500_000
		if r.Header.Get("Test-Revision") == "longer-00001" {
			size = 2_000_000
		}
		_, _ = fmt.Fprintf(w, `{"model_stats": [{"name": %q}]}`, strings.Repeat("x", size))
	})
	backend.StatusFn = func(context.Context) (all []knative.ServiceStatus, err error) {
		for _, name := range []string{"long", "longer"} {
			all = append(all, knative.ServiceStatus{Name: name, Model: true, Revisions: []knative.RevisionStatus{{Name: name + "-00001", State: knative.StateReady, Ready: 1, Percent: 100}}})
		}
		return all, nil
	}
	f := start(t, Options{Backend: backend})
	for range 2 {
		if got := f.do(t, ask{method: "GET", path: "/v2/models/stats"}); got.status != http.StatusOK || len(got.body) < 500_000 || len(got.body) > 500_100 {
			t.Errorf("%d with %d bytes, want those of one revision", got.status, len(got.body))
		}
	}
	if log := f.log.String(); strings.Count(log, `"level":"warn","error":"its statistics are longer than 1048576 bytes","revision":"longer-00001"`) != 1 {
		t.Errorf("log %s", log)
	}
}
