package command

import (
	"strings"
	"testing"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
)

// TestReached says when a deploy is done: a revision that is ready has the tag and the traffic that it was given, too.
func TestReached(t *testing.T) {
	t.Parallel()
	w := wanted{service: "half", revision: "half-2", tag: "next", percent: 50}
	old := knative.RevisionStatus{Name: "half-1", State: knative.StateIdle, Percent: 50}
	done := knative.RevisionStatus{Name: "half-2", State: knative.StateReady, Percent: 50, Tags: []string{"next"}}
	with := func(r knative.RevisionStatus, change func(*knative.RevisionStatus)) knative.RevisionStatus {
		change(&r)
		return r
	}
	failed := with(old, func(r *knative.RevisionStatus) {
		r.State, r.NeverReady, r.Message, r.Percent = knative.StateFailed, true, "no such image", 0
	})
	for _, tt := range []struct {
		name      string
		revisions []knative.RevisionStatus
		block     string // a revision that shares the traffic
		ready     bool
		done      bool
		why       string // or the error
	}{
		{name: "not made yet", revisions: []knative.RevisionStatus{old}, why: "it is being set up"},
		{name: "starting", revisions: []knative.RevisionStatus{old, {Name: "half-2", State: knative.StateStarting, Message: "no room"}}, why: "no room"},
		{name: "all as wanted", revisions: []knative.RevisionStatus{old, done}, done: true},
		{name: "no tag yet", revisions: []knative.RevisionStatus{old, with(done, func(r *knative.RevisionStatus) { r.Tags = nil })}, ready: true, why: "it is being set up"},
		{name: "no traffic yet", revisions: []knative.RevisionStatus{old, with(done, func(r *knative.RevisionStatus) { r.Percent = 0 })}, ready: true, why: "it is being set up"},
		{name: "ready, not noted yet", revisions: []knative.RevisionStatus{old, with(done, func(r *knative.RevisionStatus) { r.NeverReady = true })}, ready: true, why: "it is being set up"},
		{name: "the first, no address yet", revisions: []knative.RevisionStatus{done}, why: "it is being set up"},
		{name: "the first", revisions: []knative.RevisionStatus{done}, ready: true, done: true},
		{name: "after a failed first, no address yet", revisions: []knative.RevisionStatus{failed, done}, why: "it is being set up"},
		{name: "after a failed first", revisions: []knative.RevisionStatus{failed, done}, ready: true, done: true},
		{name: "overtaken", revisions: []knative.RevisionStatus{old, with(done, func(r *knative.RevisionStatus) { r.Percent = 0 }), {Name: "half-3"}}, done: true},
		{name: "failed", revisions: []knative.RevisionStatus{old, with(done, func(r *knative.RevisionStatus) { r.State, r.Message = knative.StateFailed, "no luck" })}, why: "half-2 failed: no luck"},
		{name: "held up", block: "half-1", revisions: []knative.RevisionStatus{failed, with(done, func(r *knative.RevisionStatus) { r.Percent = 0 })},
			why: "half-2 is ready but gets no traffic, since half-1, which was to share it, failed: no such image: deploy again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := w
			w.block = []servingv1.TrafficTarget{{RevisionName: tt.block}, {RevisionName: "half-2"}}
			got, why, err := w.reached(knative.ServiceStatus{Name: "half", Ready: tt.ready, Message: "it is being set up", Revisions: tt.revisions})
			if err != nil {
				why = err.Error()
			}
			if got != tt.done || !strings.HasPrefix(why, tt.why) || (why == "") != (tt.why == "") {
				t.Errorf("%v, %q, want %v, %q", got, why, tt.done, tt.why)
			}
		})
	}
}
