package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
)

// awaitEvery is how often a deploy looks how far the revision is.
const awaitEvery = 200 * time.Millisecond

// wanted is what a deploy makes of a revision.
type wanted struct {
	service, revision, tag string
	percent                int
	block                  []servingv1.TrafficTarget // in which it stands
}

// awaitReady waits until a revision answered once and has its tag and its traffic, or says why it will not.
func (e *env) awaitReady(ctx context.Context, engine knative.Engine, w wanted) (knative.ServiceStatus, error) {
	start := time.Now()
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for said := time.Duration(0); ; {
		s, err := serviceStatus(ctx, engine, w.service)
		if err != nil {
			return s, err
		}
		done, why, err := w.reached(s)
		if done || err != nil {
			return s, err
		}
		if why != "" {
			why = ": " + why
		}
		if waited := time.Since(start).Truncate(time.Second); waited > said {
			said = waited
			fmt.Fprintf(e.err, "waiting for %s, %s%s\n", w.revision, waited, why)
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("%s is not ready yet (%w)%s: see weir status and weir logs %s", w.revision, context.Cause(ctx), why, w.service)
		case <-tick.C:
		}
	}
}

// reached says whether all is as wanted, or what is waited for; the error says that waiting is in vain.
func (w wanted) reached(s knative.ServiceStatus) (done bool, why string, err error) {
	at := slices.IndexFunc(s.Revisions, func(r knative.RevisionStatus) bool { return r.Name == w.revision })
	if at < 0 {
		return false, s.Message, nil
	}
	switch r := s.Revisions[at]; {
	case r.State == knative.StateFailed:
		return false, "", errors.New(r.Name + " failed: " + r.Message)
	case r.State == knative.StateStarting:
		return false, r.Message, nil
	case at < len(s.Revisions)-1:
		return true, "", nil // another deploy came after this one and has its own traffic
	case !r.NeverReady && r.Percent == w.percent && (w.tag == "" || slices.Contains(r.Tags, w.tag)) && (s.Ready || anyReady(s.Revisions[:at])):
		return true, "", nil
	}
	for _, r := range s.Revisions[:at] {
		inBlock := slices.ContainsFunc(w.block, func(t servingv1.TrafficTarget) bool { return t.RevisionName == r.Name })
		if inBlock && r.State == knative.StateFailed && r.NeverReady {
			return false, "", fmt.Errorf("%s is ready but gets no traffic, since %s, which was to share it, failed: %s: deploy again, which leaves that one out", w.revision, r.Name, r.Message)
		}
	}
	return false, s.Message, nil
}

// anyReady says whether a revision has been ready. Before one has, the status shows the traffic that is to be.
func anyReady(all []knative.RevisionStatus) bool {
	return slices.ContainsFunc(all, func(r knative.RevisionStatus) bool { return !r.NeverReady })
}
