package local

import (
	"slices"

	"weir.dev/weir/knative"
)

// keptRevisions is how many revisions of a service are kept if some have no traffic: max-non-active-revisions of
// Knative's config-gc is 1,000 by default, which suits a cluster's store more than a folder.
const keptRevisions = 20

// settle puts the Service's traffic in force if it can be: when every revision in it has been ready once, or when
// nothing else is in force that has ever been, so that the first requests wait for the first replica. Until then the old
// traffic stays, as Knative's Route keeps it. e.apply is held.
func (e *Engine) settle(s *service) {
	e.mu.Lock()
	s.latestReady()
	latest := s.LatestReady
	if latest == "" {
		latest = s.LatestCreated
	}
	targets, err := knative.Traffic(s.Service, latest)
	ready := err == nil
	for _, t := range targets {
		saved := s.revision(t.Revision)
		ready = ready && saved != nil && saved.Ready
	}
	if err == nil && (ready || !s.works()) {
		s.Active = targets
	}
	e.mu.Unlock()
	e.route(s)
	e.notify()
}

// works says whether any revision that traffic is in force for has been ready.
func (s *service) works() bool {
	return slices.ContainsFunc(s.Active, func(t knative.Target) bool {
		saved := s.revision(t.Revision)
		return saved != nil && saved.Ready
	})
}

// latestReady sets LatestReady: the newest that was made, or made the template's again, if it has been ready, else the
// newest that has been since.
func (s *service) latestReady() {
	if saved := s.revision(s.LatestCreated); saved != nil && saved.Ready {
		s.LatestReady = s.LatestCreated
		return
	}
	for _, saved := range slices.Backward(s.Revisions) {
		if saved.Revision.Name == s.LatestReady {
			return
		}
		if saved.Ready {
			s.LatestReady = saved.Revision.Name
			return
		}
	}
}

// route tells the autoscalers which revisions are in use: the others need no min-scale. e.apply is held.
func (e *Engine) route(s *service) {
	used := s.inUse()
	for _, saved := range s.Revisions {
		if r := e.revisions[saved.Revision.Name]; !r.builtin {
			r.scaler.SetReachable(used[saved.Revision.Name])
		}
	}
}

// inUse says which revisions traffic or a tag leads to, or will.
func (s *service) inUse() map[string]bool {
	used := map[string]bool{s.LatestCreated: s.LatestCreated != s.LatestReady}
	for _, t := range s.Active {
		used[t.Revision] = true
	}
	for _, t := range s.Service.Spec.Traffic {
		used[t.RevisionName] = true
	}
	return used
}

// revisionReady notes that a revision has reached its initial scale: its service's traffic may come into force.
func (e *Engine) revisionReady(r *revision) {
	// In a goroutine of its own: the revision's loop must not wait for a service that waits for the loop.
	e.wg.Go(func() {
		e.apply.Lock()
		defer e.apply.Unlock()
		if e.ending || e.revisions[r.rev.Name] != r {
			return // the state folder was given back, or the revision deleted, meanwhile
		}
		s := e.services[r.service]
		e.mu.Lock()
		s.revision(r.rev.Name).Ready = true
		e.mu.Unlock()
		e.settle(s)
		if err := e.store.save(s); err != nil {
			e.log.Error().Err(err).Str("service", r.service).Msg("state was not saved")
		}
	})
}

// collect deletes the oldest revisions that nothing refers to, over keptRevisions. e.apply is held.
func (e *Engine) collect(s *service) {
	used := s.inUse()
	used[s.LatestCreated], used[s.LatestReady] = true, true
	over := len(s.Revisions) - keptRevisions
	var gone []*revision
	e.mu.Lock()
	s.Revisions = slices.DeleteFunc(s.Revisions, func(saved savedRevision) bool {
		name := saved.Revision.Name
		if over <= 0 || used[name] {
			return false
		}
		over--
		gone = append(gone, e.revisions[name])
		delete(e.revisions, name)
		return true
	})
	e.mu.Unlock()
	for _, r := range gone {
		e.discard(r)
	}
}
