// Package observe reads what Knative's and Kubernetes' objects say about a Service as weir's status. It makes no calls.
package observe

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
)

// Objects are a Service and what belongs to it.
type Objects struct {
	Service   *servingv1.Service
	Revisions []*servingv1.Revision
	// Pods are the revisions' pods. If nil, they were not read, and replicas are counted as the revisions' statuses say.
	Pods []*corev1.Pod
	// Ready counts the replicas that answer, by revision. If nil, the pods are counted.
	Ready map[string]int
	// Events are those about the pods and what makes them; they may be missing.
	Events []*corev1.Event

	traffic []servingv1.TrafficTarget
}

// Status is what the objects say. Revisions that have no traffic, no tag and no replica are left out, but for the newest.
func Status(o Objects) knative.ServiceStatus {
	svc := o.Service
	ready := svc.Status.GetCondition(servingv1.ServiceConditionReady)
	s := knative.ServiceStatus{
		Name:  svc.Name,
		Model: svc.Labels[knative.LabelModel] != "",
		Ready: ready.IsTrue() && svc.Status.ObservedGeneration == svc.Generation,
	}
	if svc.Status.URL != nil {
		s.URL = svc.Status.URL.String()
	}
	for t := range strings.SplitSeq(svc.Spec.Template.Annotations[knative.AnnotationEventTypes], ",") {
		if t = strings.TrimSpace(t); t != "" {
			s.EventTypes = append(s.EventTypes, t)
		}
	}
	o.traffic = svc.Status.Traffic
	if len(o.traffic) == 0 {
		// None is in force yet: requests wait for what is to have it, or hear why it fails.
		o.traffic = wanted(svc)
	}
	revisions := slices.Clone(o.Revisions)
	slices.SortFunc(revisions, func(a, b *servingv1.Revision) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	for _, rev := range revisions {
		rs := revision(rev, o)
		newest := rev.Name == newestOf(svc)
		if rs.Percent == 0 && len(rs.Tags) == 0 && rs.Ready+rs.Starting == 0 && !newest {
			continue
		}
		s.Revisions = append(s.Revisions, rs)
		if rs.State == knative.StateFailed && (newest || rs.Percent > 0) && s.Message == "" {
			s.Ready = false
			s.Message = "revision " + rs.Name + " fails: " + rs.Message
		}
		if rs.State == knative.StateStarting && rs.Message != "" && newest && !s.Ready && s.Message == "" {
			s.Message = "revision " + rs.Name + " waits: " + rs.Message
		}
	}
	if !s.Ready && s.Message == "" {
		s.Message = whyNotReady(o)
	}
	return s
}

// newestOf is the revision that the Service's template makes.
func newestOf(svc *servingv1.Service) string {
	return cmp.Or(svc.Spec.Template.Name, svc.Status.LatestCreatedRevisionName)
}

// revision is the status of one revision, with its share of the Service's traffic.
func revision(rev *servingv1.Revision, o Objects) knative.RevisionStatus {
	s := knative.RevisionStatus{
		Name: rev.Name, Created: rev.CreationTimestamp.Time,
		Images: rev.Annotations[knative.AnnotationImages] == "true",
		Wanted: int(value(rev.Status.DesiredReplicas)),
		Ready:  int(value(rev.Status.ActualReplicas)),
	}
	// What is no number is no version.
	s.Version, _ = strconv.ParseInt(rev.Annotations[knative.AnnotationVersion], 10, 64)
	for _, t := range o.traffic {
		if t.RevisionName != rev.Name {
			continue
		}
		if t.Percent != nil {
			s.Percent += int(*t.Percent)
		}
		if t.Tag != "" && !slices.Contains(s.Tags, t.Tag) {
			s.Tags = append(s.Tags, t.Tag)
		}
	}
	s.NeverReady = !everReady(rev, o.Service)
	pods := podsOf(rev, o.Pods)
	switch {
	case o.Ready != nil:
		s.Ready = o.Ready[rev.Name]
		s.Starting = max(0, s.Wanted-s.Ready)
	case o.Pods != nil:
		s.Ready, s.Starting = count(pods)
	}
	s.State, s.Message = state(rev, s, pods, o.Events)
	return s
}

// wanted is the traffic as the Service asks for it, with its revisions named.
func wanted(svc *servingv1.Service) []servingv1.TrafficTarget {
	latest := cmp.Or(svc.Status.LatestReadyRevisionName, newestOf(svc))
	if len(svc.Spec.Traffic) == 0 {
		all := int64(100)
		return []servingv1.TrafficTarget{{RevisionName: latest, Percent: &all}}
	}
	targets := slices.Clone(svc.Spec.Traffic)
	for i := range targets {
		targets[i].RevisionName = cmp.Or(targets[i].RevisionName, latest)
	}
	return targets
}

// everReady says whether a revision is or has been ready: only then does Knative give it traffic.
func everReady(rev *servingv1.Revision, svc *servingv1.Service) bool {
	return rev.Status.GetCondition(servingv1.RevisionConditionReady).IsTrue() || rev.Name == svc.Status.LatestReadyRevisionName ||
		slices.ContainsFunc(svc.Status.Traffic, func(t servingv1.TrafficTarget) bool { return t.RevisionName == rev.Name })
}

// FirstStart says why a revision has never been ready, and whether it has failed. The reason is empty if it has been: one
// that fails later starts again when a request comes.
func FirstStart(rev *servingv1.Revision, svc *servingv1.Service) (why string, failed bool) {
	if everReady(rev, svc) {
		return "", false
	}
	if why := waitsForRoom(rev, nil); why != "" {
		return "revision " + rev.Name + " waits: " + why, false
	}
	if why := failure(rev, nil, nil); why != "" {
		return "revision " + rev.Name + " fails: " + why, true
	}
	return "revision " + rev.Name + " is starting for the first time", false
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func podsOf(rev *servingv1.Revision, all []*corev1.Pod) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, p := range all {
		if p.Labels[serving.RevisionLabelKey] == rev.Name {
			pods = append(pods, p)
		}
	}
	return pods
}

// count counts the pods that answer and those that do not yet. One that is being ended is neither.
func count(pods []*corev1.Pod) (ready, starting int) {
	for _, p := range pods {
		switch {
		case p.DeletionTimestamp != nil:
		case podReady(p):
			ready++
		default:
			starting++
		}
	}
	return ready, starting
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// state says how a revision is, and why if it fails or waits for room.
func state(rev *servingv1.Revision, s knative.RevisionStatus, pods []*corev1.Pod, events []*corev1.Event) (knative.State, string) {
	if s.Ready > 0 {
		return knative.StateReady, ""
	}
	if why := waitsForRoom(rev, pods); why != "" {
		// Not failed: another pod may end, and a cluster that grows adds the node now.
		return knative.StateStarting, why
	}
	if why := failure(rev, pods, events); why != "" {
		return knative.StateFailed, why
	}
	active := rev.Status.GetCondition(servingv1.RevisionConditionActive)
	if rev.Status.GetCondition(servingv1.RevisionConditionReady).IsTrue() && s.Starting == 0 && (active.IsFalse() || s.Wanted == 0) {
		return knative.StateIdle, ""
	}
	return knative.StateStarting, ""
}
