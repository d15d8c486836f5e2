package throttle

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestReport follows three requests at one replica with one place over four seconds, and counts by hand.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{ContainerConcurrency: 1, Transport: h})
		near := cmpopts.EquateApprox(0, 1e-9)

		// 0 s: a and b come, there is no replica. 1 s: one is there, a is at it. 3 s: a is done, b is at it. 4 s: b left.
		a := start(th, get(t.Context(), "/a"))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b := start(th, get(ctx, "/b"))
		synctest.Wait()
		<-time.After(time.Second)
		th.Add("r", "1:1")
		<-time.After(time.Second)

		want := Report{
			AverageConcurrency: 2, RequestCount: 2, Executing: 0.5, PerReplica: map[string]float64{"r": 1},
			InFlight: 1, Queued: 1,
		}
		if d := cmp.Diff(want, th.Report(time.Now()), near); d != "" {
			t.Errorf("after 2 s (-want +got):\n%s", d)
		}

		<-time.After(time.Second)
		h.release <- nil
		<-a
		synctest.Wait()
		<-time.After(time.Second)
		h.release <- nil
		<-b
		<-time.After(2 * time.Second)
		<-th.Remove("r")

		// 2 s to 6 s: 2 for 1 s, 1 for 1 s, 0 for 2 s; at the replica 1 for 2 s of 4 s.
		want = Report{
			AverageConcurrency: 0.75, Finished: 2, Executing: 0.5, PerReplica: map[string]float64{"r": 0.5},
		}
		if d := cmp.Diff(want, th.Report(time.Now()), near); d != "" {
			t.Errorf("after 6 s (-want +got):\n%s", d)
		}
		<-time.After(time.Second)
		if d := cmp.Diff(Report{PerReplica: map[string]float64{}}, th.Report(time.Now())); d != "" {
			t.Errorf("in the end (-want +got):\n%s", d)
		}
	})
}

// TestReportOfADrainingReplica has one that is busy over two reports after it was removed.
func TestReportOfADrainingReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		th := New(Options{Transport: h})
		th.Add("r", "1:1")
		w := start(th, get(t.Context(), "/"))
		synctest.Wait()
		drained := th.Remove("r")
		for range 2 {
			<-time.After(time.Second)
			if rep := th.Report(time.Now()); rep.PerReplica["r"] != 1 || rep.Executing != 1 || rep.InFlight != 1 {
				t.Errorf("while it drains: %+v", rep)
			}
		}
		h.release <- nil
		<-w
		<-drained
	})
}
