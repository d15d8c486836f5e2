package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
)

// keptRevisions is how many revisions without traffic are kept: max-non-active-revisions of Knative's config-gc is
// 1,000 by default, which suits a cluster's store more than a folder.
const keptRevisions = 20

// service is a Knative Service with what has become of it. It is what the state folder keeps.
type service struct {
	Service       *servingv1.Service `json:"service"`
	Generation    int64              `json:"generation"`
	LatestCreated string             `json:"latestCreated"`
	LatestReady   string             `json:"latestReady,omitempty"`
	// Active is the traffic in force: that of the newest Service whose revisions have all been ready.
	Active []knative.Target `json:"active,omitempty"`
	// Revisions are oldest first.
	Revisions []savedRevision `json:"revisions"`
}

// savedRevision is a revision and whether it has ever been ready.
type savedRevision struct {
	Revision *servingv1.Revision `json:"revision"`
	Ready    bool                `json:"ready,omitempty"`
}

func (s *service) revision(name string) *savedRevision {
	i := slices.IndexFunc(s.Revisions, func(r savedRevision) bool { return r.Revision.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Revisions[i]
}

// adopt takes a service of an earlier run.
func (e *Engine) adopt(s *service) error {
	for _, saved := range s.Revisions {
		r, err := e.newRevision(saved.Revision, s.Service.Name, saved.Ready)
		if err != nil {
			return err
		}
		e.revisions[saved.Revision.Name] = r
	}
	e.services[s.Service.Name] = s
	e.route(s)
	return nil
}

// Services returns the Services as they were applied, sorted by name.
func (e *Engine) Services(context.Context) ([]*servingv1.Service, error) {
	services := e.sorted()
	out := make([]*servingv1.Service, len(services))
	for i, s := range services {
		out[i] = s.Service.DeepCopy()
	}
	return out, nil
}

// Apply creates or updates a Service. A template that differs from the last one makes a revision.
func (e *Engine) Apply(ctx context.Context, svc *servingv1.Service) error {
	svc = svc.DeepCopy()
	warnings, err := knative.Prepare(knative.WithAutoscaler(ctx, e.cfg), svc)
	if err != nil {
		return err
	}
	if err := knative.ValidateLocal(svc); err != nil {
		return err
	}
	for _, w := range warnings {
		e.log.Debug().Str("service", svc.Name).Msg(w)
	}
	e.apply.Lock()
	defer e.apply.Unlock()
	e.mu.RLock()
	old := e.services[svc.Name]
	e.mu.RUnlock()
	s := &service{Service: svc}
	if old != nil {
		next := *old
		next.Service, next.Revisions = svc, slices.Clone(old.Revisions)
		s = &next
	}
	created, err := e.nextRevision(s, old)
	if err != nil {
		return err
	}
	if err := checkTraffic(s); err != nil {
		if created != nil {
			created.close()
		}
		return err
	}
	e.mu.Lock()
	e.services[svc.Name] = s
	if created != nil {
		e.revisions[created.rev.Name] = created
	}
	e.mu.Unlock()
	e.settle(s)
	e.mu.Lock()
	if created != nil && e.running != nil {
		e.start(e.running, created)
	}
	e.mu.Unlock()
	e.collect(s)
	return e.store.save(s)
}

// nextRevision makes the revision of the Service's template, if there is none yet.
func (e *Engine) nextRevision(s, old *service) (*revision, error) {
	if old != nil && knative.TemplateEqual(&old.Service.Spec.Template, &s.Service.Spec.Template) {
		return nil, nil
	}
	s.Generation++
	rev, err := knative.NewRevision(s.Service, s.Generation)
	if err != nil {
		return nil, err
	}
	s.LatestCreated = rev.Name
	if there := s.revision(rev.Name); there != nil {
		return nil, knative.CheckRevision(there.Revision, s.Service)
	}
	e.mu.RLock()
	taken := e.revisions[rev.Name]
	e.mu.RUnlock()
	if taken != nil {
		return nil, fmt.Errorf("revision %s is there already, of service %s: give spec.template.metadata.name another value", rev.Name, taken.service)
	}
	rev.CreationTimestamp = metav1.NewTime(time.Now())
	r, err := e.newRevision(rev, s.Service.Name, false)
	if err != nil {
		return nil, err
	}
	s.Revisions = append(s.Revisions, savedRevision{Revision: rev, Ready: r.builtin})
	if r.builtin {
		s.LatestReady = rev.Name
	}
	return r, nil
}

// checkTraffic says which entry of the traffic block names no revision.
func checkTraffic(s *service) error {
	var problems []error
	for i, t := range s.Service.Spec.Traffic {
		if t.RevisionName != "" && s.revision(t.RevisionName) == nil {
			names := make([]string, len(s.Revisions))
			for i, r := range s.Revisions {
				names[i] = r.Revision.Name
			}
			problems = append(problems, fmt.Errorf("service %s: spec.traffic[%d] names revision %s: there is %v", s.Service.Name, i, t.RevisionName, names))
		}
	}
	return errors.Join(problems...)
}

// settle puts the Service's traffic in force if it can be: when every revision in it has been ready once, or when
// nothing else is in force, so that the first requests wait for the first replica. Until then the old traffic stays, as
// Knative's Route keeps it.
func (e *Engine) settle(s *service) {
	e.mu.Lock()
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
	if err == nil && (ready || len(s.Active) == 0) {
		s.Active = targets
	}
	e.mu.Unlock()
	e.route(s)
	e.notify()
}

// route tells the autoscalers which revisions can be reached: the others need no min-scale.
func (e *Engine) route(s *service) {
	reachable := map[string]bool{s.LatestCreated: s.LatestCreated != s.LatestReady}
	for _, t := range s.Active {
		reachable[t.Revision] = true
	}
	for _, t := range s.Service.Spec.Traffic {
		if t.RevisionName != "" {
			reachable[t.RevisionName] = true
		}
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, saved := range s.Revisions {
		if r := e.revisions[saved.Revision.Name]; r != nil && !r.builtin {
			r.scaler.SetReachable(reachable[saved.Revision.Name])
		}
	}
}

// revisionReady notes that a revision was ready for the first time: its service's traffic may come into force.
func (e *Engine) revisionReady(r *revision) {
	// In a goroutine of its own: the revision's loop must not wait for a service that waits for the loop.
	e.wg.Go(func() {
		e.apply.Lock()
		defer e.apply.Unlock()
		e.mu.Lock()
		s := e.services[r.service]
		if s == nil || s.revision(r.rev.Name) == nil {
			e.mu.Unlock()
			return
		}
		s.revision(r.rev.Name).Ready = true
		if s.LatestCreated == r.rev.Name {
			s.LatestReady = r.rev.Name
		}
		e.mu.Unlock()
		e.settle(s)
		if err := e.store.save(s); err != nil {
			e.log.Error().Err(err).Str("service", r.service).Msg("state was not saved")
		}
	})
}

// collect deletes the oldest revisions that nothing refers to, over keptRevisions.
func (e *Engine) collect(s *service) {
	used := map[string]bool{s.LatestCreated: true, s.LatestReady: true}
	for _, t := range s.Active {
		used[t.Revision] = true
	}
	for _, t := range s.Service.Spec.Traffic {
		used[t.RevisionName] = true
	}
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
		r.retireBy()
	}
}

// Delete drains a service's replicas and forgets it.
func (e *Engine) Delete(ctx context.Context, name string) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	e.mu.Lock()
	s := e.services[name]
	if s == nil {
		e.mu.Unlock()
		return e.noService(name)
	}
	delete(e.services, name)
	var gone []*revision
	for _, saved := range s.Revisions {
		gone = append(gone, e.revisions[saved.Revision.Name])
	}
	running := e.running != nil
	e.mu.Unlock()
	// The router forgets the service first, then its replicas finish what they have.
	e.notify()
	var problems []error
	for _, r := range gone {
		r.retireBy()
	}
	for _, r := range gone {
		if running {
			problems = append(problems, r.stop(ctx))
		} else {
			r.close()
		}
	}
	e.mu.Lock()
	for _, r := range gone {
		delete(e.revisions, r.rev.Name)
	}
	e.mu.Unlock()
	return errors.Join(append(problems, e.store.remove(s))...)
}
