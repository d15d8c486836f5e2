package local

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir.dev/weir/knative"
	"weir.dev/weir/knative/local/autoscale"
)

// Status returns what runs, sorted by name.
func (e *Engine) Status(context.Context) ([]knative.ServiceStatus, error) {
	services := e.sorted()
	out := make([]knative.ServiceStatus, 0, len(services))
	for _, s := range services {
		out = append(out, e.serviceStatus(s))
	}
	return out, nil
}

func (e *Engine) serviceStatus(s *service) knative.ServiceStatus {
	e.mu.RLock()
	defer e.mu.RUnlock()
	template := s.Service.Spec.Template
	status := knative.ServiceStatus{
		Name:  s.Service.Name,
		URL:   e.url(s.Service.Name),
		Model: s.Service.Labels[knative.LabelModel] != "" || template.Labels[knative.LabelModel] != "",
		Ready: true,
	}
	if types := template.Annotations[knative.AnnotationEventTypes]; types != "" {
		for t := range strings.SplitSeq(types, ",") {
			status.EventTypes = append(status.EventTypes, strings.TrimSpace(t))
		}
	}
	for _, saved := range s.Revisions {
		r := e.revisions[saved.Revision.Name]
		rs := r.status()
		rs.NeverReady = !saved.Ready
		for _, t := range s.Active {
			if t.Revision == rs.Name {
				rs.Percent += t.Percent
				if t.Tag != "" && !slices.Contains(rs.Tags, t.Tag) {
					rs.Tags = append(rs.Tags, t.Tag)
				}
			}
		}
		newest := rs.Name == s.LatestCreated
		inTraffic := rs.Percent > 0 || len(rs.Tags) > 0
		if !inTraffic && !newest && rs.Ready+rs.Starting == 0 {
			continue
		}
		status.Revisions = append(status.Revisions, rs)
		switch {
		case rs.State == knative.StateFailed && (rs.Percent > 0 || newest):
			status.Ready = false
			status.Message = "revision " + rs.Name + " fails: " + rs.Message
		case newest && !saved.Ready && status.Ready:
			status.Ready = false
			status.Message = "revision " + rs.Name + " is starting for the first time"
		}
	}
	return status
}

func (e *Engine) url(service string) string {
	host := fmt.Sprintf("http://%s.%s.%s", service, knative.DefaultNamespace, e.o.Domain)
	if e.o.Port != 0 && e.o.Port != 80 {
		host += ":" + strconv.Itoa(e.o.Port)
	}
	return host
}

// status says how the revision runs; its traffic is the service's to add.
func (r *revision) status() knative.RevisionStatus {
	v := r.look()
	s := knative.RevisionStatus{
		Name: r.rev.Name, Created: r.rev.CreationTimestamp.Time,
		Images:      r.rev.Annotations[knative.AnnotationImages] == "true",
		Ready:       v.ready,
		Starting:    v.starting,
		Wanted:      v.wanted,
		Concurrency: v.concurrency,
		Queue:       v.queued,
		RPS:         v.rps,
		Batching:    v.batching,
	}
	// Prepare has seen that it is a number.
	s.Version, _ = strconv.ParseInt(r.rev.Annotations[knative.AnnotationVersion], 10, 64)
	if len(v.decisions) > 0 {
		s.Panic = v.decisions[len(v.decisions)-1].Panic
	}
	switch {
	case r.builtin:
		s.Ready, s.Wanted, s.State = 1, 1, knative.StateReady
	case v.ready > 0:
		s.State = knative.StateReady
	case v.failure != nil:
		s.State, s.Message = knative.StateFailed, v.failure.Error()
	case v.starting > 0 || v.wanted > 0 || !v.everReady:
		s.State = knative.StateStarting
	default:
		s.State = knative.StateIdle
	}
	return s
}

// Decisions returns the autoscaler's last decisions about a revision, oldest first.
func (e *Engine) Decisions(revision string) ([]autoscale.Decision, error) {
	e.mu.RLock()
	r := e.revisions[revision]
	e.mu.RUnlock()
	if r == nil {
		return nil, &notFoundError{fmt.Sprintf("there is no revision %q", revision)}
	}
	return r.look().decisions, nil
}
