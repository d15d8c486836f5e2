package observe

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// Reasons of Kubernetes for a container that waits, or for what could not be made; the API has no constants for them.
const (
	crashLoop    = "CrashLoopBackOff"
	invalidImage = "InvalidImageName"
	noConfig     = "CreateContainerConfigError"
	failedCreate = "FailedCreate"
	failedMount  = "FailedMount"
)

// failure says in one sentence why the revision's replicas do not get ready and what to do. It is empty while they may
// yet get ready. What the pods say comes first: a condition repeats it, later.
func failure(rev *servingv1.Revision, pods []*corev1.Pod, events []*corev1.Event) string {
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		if why := podFailure(p); why != "" {
			return why
		}
	}
	for _, kind := range []apis.ConditionType{
		servingv1.RevisionConditionContainerHealthy, servingv1.RevisionConditionResourcesAvailable, servingv1.RevisionConditionReady,
	} {
		if c := rev.Status.GetCondition(kind); c.IsFalse() && c.Reason != corev1.PodReasonUnschedulable {
			return conditionFailure(c, image(rev), events)
		}
	}
	return ""
}

func image(rev *servingv1.Revision) string {
	if len(rev.Spec.Containers) == 0 {
		return ""
	}
	return rev.Spec.Containers[0].Image
}

// podFailure is why a pod does not start. A first error of a pull or a first exit may pass; Kubernetes says when it
// begins to wait between the attempts.
func podFailure(p *corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		w, last := c.State.Waiting, c.LastTerminationState.Terminated
		switch {
		case w == nil:
		case w.Reason == "ImagePullBackOff" || w.Reason == invalidImage || w.Reason == "ErrImageNeverPull":
			return badImage(c.Image, w.Message)
		case w.Reason == crashLoop && last != nil:
			return exited(last.ExitCode, last.Reason, last.Message)
		case w.Reason == noConfig:
			return "the container's settings cannot be used (" + short(w.Message) + "): correct the manifest"
		}
	}
	return ""
}

// waitsForRoom says that no node takes a replica, if that is so.
func waitsForRoom(rev *servingv1.Revision, pods []*corev1.Pod) string {
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonUnschedulable {
				return noRoom(c.Message)
			}
		}
	}
	if c := rev.Status.GetCondition(servingv1.RevisionConditionResourcesAvailable); c.IsFalse() && c.Reason == corev1.PodReasonUnschedulable && len(pods) == 0 {
		return noRoom(c.Message)
	}
	return ""
}

func conditionFailure(c *apis.Condition, image string, events []*corev1.Event) string {
	switch {
	case c.Reason == servingv1.ReasonContainerMissing, strings.HasSuffix(c.Reason, "ImagePull"), c.Reason == "ImagePullBackOff", c.Reason == invalidImage:
		return badImage(image, c.Message)
	case strings.HasPrefix(c.Reason, "ExitCode"):
		var code int32
		// A reason without a number leaves it at 0.
		_, _ = fmt.Sscanf(c.Reason, "ExitCode%d", &code)
		return exited(code, "", strings.TrimPrefix(c.Message, "Container failed with: "))
	case c.Reason == failedCreate:
		return notMade(c.Message)
	case c.Reason == servingv1.ReasonProgressDeadlineExceeded:
		if why := lastEvent(events); why != "" {
			return why
		}
		return "no replica got ready in the time that the cluster gives a deployment: see weir logs"
	}
	return cmp.Or(short(c.Message), c.Reason) + ": see kubectl describe revision"
}

// badImage tells the usual causes of a failed pull apart by what registries and containerd say.
func badImage(image, message string) string {
	what, do := short(message), "give another --image"
	lower := strings.ToLower(message)
	switch {
	case strings.Contains(lower, "manifest_unknown"), strings.Contains(lower, "name_unknown"), strings.Contains(lower, "not found"), strings.Contains(lower, "404"):
		what, do = "the registry does not have it", "push it or give another --image"
	case strings.Contains(lower, "unauthorized"), strings.Contains(lower, "forbidden"), strings.Contains(lower, "denied"):
		what, do = "the registry refuses", "give the service account an image pull secret"
	case strings.Contains(lower, "no such host"), strings.Contains(lower, "connection refused"), strings.Contains(lower, "i/o timeout"), strings.Contains(lower, "deadline exceeded"):
		what, do = "the cluster does not reach its registry", "check the registry's name in --image"
	case strings.Contains(lower, "invalid reference"), strings.Contains(lower, "could not parse reference"), strings.Contains(lower, "couldn't parse image"):
		what, do = "that is no image's name", "give --image REGISTRY/NAME[:TAG|@DIGEST]"
	}
	return fmt.Sprintf("image %s cannot be pulled, %s: %s", image, what, do)
}

// exited says why a container ended, by the last line that it wrote.
func exited(code int32, reason, output string) string {
	if reason == "OOMKilled" {
		return "the function was killed as it needs more memory than its limit: raise resources.limits.memory"
	}
	said := lastError(output)
	if said == "" {
		return fmt.Sprintf("the function ends at its start with exit code %d and says nothing: see weir logs", code)
	}
	do := "see weir logs"
	if strings.HasPrefix(said, "model ") || strings.Contains(said, "SavedModel") {
		do = "give another --model, or an --image that has it"
	}
	return fmt.Sprintf("the function ends at its start (exit code %d), %s: %s", code, said, do)
}

// lastError returns the error of the last line of a function's log that has one, else the last line. Kubernetes keeps
// the end of what a container wrote, so the first line may be cut.
func lastError(output string) string {
	lines := bytes.Split(bytes.TrimSpace([]byte(output)), []byte("\n"))
	slices.Reverse(lines)
	for _, line := range lines {
		var entry struct{ Error string }
		if json.Unmarshal(line, &entry) == nil && entry.Error != "" {
			return short(entry.Error)
		}
	}
	return short(string(lines[0]))
}

func noRoom(message string) string {
	if strings.Contains(strings.ToLower(message), "persistentvolumeclaim") {
		return "its volume is not there (" + short(message) + "): see kubectl describe pvc, make the claim or give another --cache-claim"
	}
	return "no node has room for a replica (" + short(message) + "): ask for less in resources.requests, or add a node"
}

func notMade(message string) string {
	return "the cluster refuses to make its pods (" + short(message) + "): correct the manifest, or ask the cluster's administrator for the rights"
}

// lastEvent says what the newest warning that has a known cause says.
func lastEvent(events []*corev1.Event) string {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b *corev1.Event) int { return b.LastTimestamp.Compare(a.LastTimestamp.Time) })
	for _, e := range events {
		switch {
		case e.Type != corev1.EventTypeWarning:
		case e.Reason == failedCreate:
			return notMade(e.Message)
		case e.Reason == failedMount:
			return "a volume cannot be mounted (" + short(e.Message) + "): correct the manifest"
		case e.Reason == "Unhealthy":
			return "its readiness probe fails (" + short(e.Message) + "): see weir logs"
		}
	}
	return ""
}

// whyNotReady is the Service's reason where no revision of it fails.
func whyNotReady(o Objects) string {
	svc := o.Service
	newest := newestOf(svc)
	if svc.Status.ObservedGeneration == svc.Generation {
		for _, kind := range []apis.ConditionType{servingv1.ServiceConditionConfigurationsReady, servingv1.ServiceConditionRoutesReady} {
			if c := svc.Status.GetCondition(kind); c.IsFalse() {
				return cmp.Or(short(c.Message), c.Reason) + ": see kubectl describe ksvc " + svc.Name
			}
		}
	}
	if newest != "" && newest != svc.Status.LatestReadyRevisionName {
		return "revision " + newest + " is starting for the first time"
	}
	if c := svc.Status.GetCondition(servingv1.ServiceConditionRoutesReady); c != nil && !c.IsTrue() {
		return "its address is being set up: " + cmp.Or(short(c.Message), c.Reason, "wait")
	}
	return "it is being set up"
}

// short makes one line of a message and cuts it.
func short(s string) string {
	const most = 300
	s = strings.TrimRight(strings.Join(strings.Fields(s), " "), ".:")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
