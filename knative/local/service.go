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
	if e.ending {
		return errEnding
	}
	if err := e.stillLeaving(svc.Name); err != nil {
		return err
	}
	s := &service{Service: svc}
	if old := e.services[svc.Name]; old != nil {
		*s = *old
		s.Service, s.Revisions = svc, slices.Clone(old.Revisions)
	}
	created, err := e.nextRevision(s)
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
	if created != nil && e.running != nil {
		e.start(created)
	}
	e.collect(s)
	if err := e.store.save(s); err != nil {
		return fmt.Errorf("service %s is in force but was not saved, and would not be as it is now after a restart: apply it again: %w", svc.Name, err)
	}
	return nil
}

// nextRevision makes the revision of the Service's template, or returns nil if there is one. s has the new Service and
// the revisions so far. e.apply is held.
func (e *Engine) nextRevision(s *service) (*revision, error) {
	if old := e.services[s.Service.Name]; old != nil && knative.TemplateEqual(&old.Service.Spec.Template, &s.Service.Spec.Template) {
		return nil, e.moveTo(s)
	}
	s.Generation++
	rev, err := knative.NewRevision(s.Service, s.Generation)
	if err != nil {
		return nil, err
	}
	s.LatestCreated = rev.Name
	if there := s.revision(rev.Name); there != nil {
		if err := knative.CheckRevision(there.Revision, s.Service); err != nil {
			return nil, err
		}
		return nil, e.moveTo(s)
	}
	if taken := e.revisions[rev.Name]; taken != nil {
		return nil, fmt.Errorf("revision %s is there already, of service %s: give spec.template.metadata.name another value", rev.Name, taken.service)
	}
	rev.CreationTimestamp = metav1.NewTime(time.Now())
	r, err := e.newRevision(rev, s.Service.Name, false)
	if err != nil {
		return nil, err
	}
	s.Revisions = append(s.Revisions, savedRevision{Revision: rev, Ready: r.builtin})
	return r, nil
}

// moveTo notes that the manifest of the newest revision lies in another folder by now, if so.
func (e *Engine) moveTo(s *service) error {
	saved := s.revision(s.LatestCreated)
	dir := s.Service.Spec.Template.Annotations[knative.AnnotationLocalDir]
	if saved.Revision.Annotations[knative.AnnotationLocalDir] == dir {
		return nil
	}
	moved := saved.Revision.DeepCopy() // others read the old one
	moved.Annotations[knative.AnnotationLocalDir] = dir
	if err := e.revisions[moved.Name].moveTo(moved); err != nil {
		return err
	}
	saved.Revision = moved
	return nil
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

// Delete drains a service's replicas and forgets it. Other services can be changed meanwhile.
func (e *Engine) Delete(ctx context.Context, name string) error {
	gone, err := e.remove(name)
	for _, g := range gone {
		select {
		case <-g:
		case <-ctx.Done():
			return errors.Join(err, fmt.Errorf("service %s still drains: %w", name, ctx.Err()))
		}
	}
	return err
}

// remove forgets a service and lets its revisions end, each of which closes a channel then.
func (e *Engine) remove(name string) ([]<-chan struct{}, error) {
	e.apply.Lock()
	defer e.apply.Unlock()
	s := e.services[name]
	if s == nil {
		return nil, e.noService(name)
	}
	// New requests find nothing any more; those that are here finish.
	revisions := make([]*revision, len(s.Revisions))
	e.mu.Lock()
	delete(e.services, name)
	for i, saved := range s.Revisions {
		revisions[i] = e.revisions[saved.Revision.Name]
		delete(e.revisions, saved.Revision.Name)
	}
	e.mu.Unlock()
	e.notify()
	err := e.store.forget(name)
	gone := make([]<-chan struct{}, len(revisions))
	for i, r := range revisions {
		gone[i] = e.discard(r)
	}
	e.leaving[name] = gone
	return gone, err
}

// stillLeaving says that a service of the name was deleted and its last requests have not finished: its revisions' names
// and logs are in use. e.apply is held.
func (e *Engine) stillLeaving(name string) error {
	for _, g := range e.leaving[name] {
		select {
		case <-g:
		default:
			return fmt.Errorf("service %s was deleted and finishes its last requests: try again when they are done", name)
		}
	}
	delete(e.leaving, name)
	return nil
}

// discard ends a revision that the maps have no more, and removes its log when its replicas are gone, when the channel
// is closed. e.apply is held.
func (e *Engine) discard(r *revision) <-chan struct{} {
	gone := make(chan struct{})
	removeLog := func() {
		defer close(gone)
		if err := e.store.removeLog(r.rev.Name); err != nil {
			e.log.Warn().Err(err).Str("revision", r.rev.Name).Msg("log was not removed")
		}
	}
	if e.running == nil {
		r.close()
		removeLog()
		return gone
	}
	r.retireBy()
	e.wg.Go(func() {
		<-r.ended
		removeLog()
	})
	return gone
}
