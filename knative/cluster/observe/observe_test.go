package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	duckv1 "knative.dev/pkg/apis/duck/v1"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"

	"weir.dev/weir/knative"
)

func ptr[T any](v T) *T { return &v }

// service has two revisions, half-1 with all traffic and half-2 under a tag.
func service() *servingv1.Service {
	svc := &servingv1.Service{ObjectMeta: metav1.ObjectMeta{Name: "half", Generation: 2, Labels: map[string]string{knative.LabelModel: "half"}}}
	svc.Spec.Template.Annotations = map[string]string{knative.AnnotationEventTypes: "a, b"}
	svc.Spec.Template.Name = "half-2"
	svc.Status.ObservedGeneration = 2
	svc.Status.URL = &apis.URL{Scheme: "http", Host: "half.models.example.com"}
	svc.Status.LatestCreatedRevisionName, svc.Status.LatestReadyRevisionName = "half-2", "half-2"
	svc.Status.Traffic = []servingv1.TrafficTarget{
		{RevisionName: "half-1", Percent: ptr(int64(60))}, {RevisionName: "half-1", Tag: "stable", Percent: ptr(int64(40))},
		{RevisionName: "half-2", Tag: "next"},
	}
	svc.Status.Conditions = duckv1.Conditions{{Type: servingv1.ServiceConditionReady, Status: corev1.ConditionTrue}}
	return svc
}

func revisionOf(name string, age int64, conditions ...apis.Condition) *servingv1.Revision {
	rev := &servingv1.Revision{ObjectMeta: metav1.ObjectMeta{
		Name: name, CreationTimestamp: metav1.Unix(age, 0),
		Annotations: map[string]string{knative.AnnotationVersion: "7", knative.AnnotationImages: "true"},
	}}
	rev.Spec.Containers = []corev1.Container{{Image: "example.com/half:1"}}
	rev.Status.Conditions = conditions
	return rev
}

func condition(kind apis.ConditionType, status corev1.ConditionStatus, reason, message string) apis.Condition {
	return apis.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

var (
	ready = condition(servingv1.RevisionConditionReady, corev1.ConditionTrue, "", "")
	idle  = condition(servingv1.RevisionConditionActive, corev1.ConditionFalse, "NoTraffic", "")
)

func pod(revision string, status corev1.PodStatus) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: revision + "-deployment-x", Labels: map[string]string{serving.RevisionLabelKey: revision}}, Status: status}
}

var podIsReady = corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}

func TestStatus(t *testing.T) {
	t.Parallel()
	two := revisionOf("half-2", 2, ready)
	two.Status.DesiredReplicas = ptr(int32(2))
	old := revisionOf("half-0", 0, ready, idle)
	ending := pod("half-2", podIsReady)
	ending.DeletionTimestamp = &metav1.Time{Time: time.Unix(9, 0)}
	got := Status(Objects{
		Service: service(), Revisions: []*servingv1.Revision{two, revisionOf("half-1", 1, ready, idle), old},
		Pods: []*corev1.Pod{pod("half-2", podIsReady), pod("half-2", corev1.PodStatus{}), ending},
	})
	want := knative.ServiceStatus{
		Name: "half", URL: "http://half.models.example.com", Ready: true, Model: true, EventTypes: []string{"a", "b"},
		Revisions: []knative.RevisionStatus{
			{Name: "half-1", Tags: []string{"stable"}, Percent: 100, Version: 7, Images: true, State: knative.StateIdle, Created: time.Unix(1, 0)},
			{Name: "half-2", Tags: []string{"next"}, Version: 7, Images: true, State: knative.StateReady, Ready: 1, Starting: 1, Wanted: 2, Created: time.Unix(2, 0)},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFirstStart: as long as no traffic is in force, the status has what the Service asks for; a revision that was never
// ready says so, and why.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	svc := service()
	svc.Status.Traffic, svc.Status.LatestReadyRevisionName = nil, ""
	svc.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "half-1", Tag: "old", Percent: ptr(int64(50))}, {LatestRevision: ptr(true), Percent: ptr(int64(50))}}
	failed := revisionOf("half-1", 1, condition(servingv1.RevisionConditionContainerHealthy, corev1.ConditionFalse, "ExitCode1", "no luck"))
	starting := revisionOf("half-2", 2)
	s := Status(Objects{Service: svc, Revisions: []*servingv1.Revision{failed, starting}})
	for _, r := range s.Revisions {
		if r.Percent != 50 || !r.NeverReady || len(r.Tags) != map[string]int{"half-1": 1}[r.Name] {
			t.Errorf("%+v", r)
		}
	}
	for _, tt := range []struct {
		rev    *servingv1.Revision
		ready  string
		want   string
		failed bool
	}{
		{failed, "", "revision half-1 fails: the function ends at its start (exit code 1), no luck", true},
		{failed, "half-1", "", false},
		{starting, "half-1", "revision half-2 is starting for the first time", false},
		{revisionOf("half-2", 2, condition(servingv1.RevisionConditionResourcesAvailable, corev1.ConditionFalse, "Unschedulable", "0/1 nodes")), "", "revision half-2 waits: no node has room", false},
		{revisionOf("half-2", 2, ready), "", "", false},
	} {
		svc.Status.LatestReadyRevisionName = tt.ready
		why, failed := FirstStart(tt.rev, svc)
		if failed != tt.failed || !strings.HasPrefix(why, tt.want) || (why == "") != (tt.want == "") {
			t.Errorf("%q, %v, want %q, %v", why, failed, tt.want, tt.failed)
		}
	}
	svc.Spec.Traffic, svc.Status.LatestReadyRevisionName = nil, ""
	if s := Status(Objects{Service: svc, Revisions: []*servingv1.Revision{starting}}); s.Revisions[0].Percent != 100 {
		t.Errorf("without a traffic block: %+v", s.Revisions[0])
	}
}

// TestWithoutPods counts replicas as who watches no pods must: by the revision's status, or by a count of its own.
func TestWithoutPods(t *testing.T) {
	t.Parallel()
	two := revisionOf("half-2", 2, ready)
	two.Status.DesiredReplicas, two.Status.ActualReplicas = ptr(int32(3)), ptr(int32(2))
	o := Objects{Service: service(), Revisions: []*servingv1.Revision{two}}
	if r := Status(o).Revisions[0]; r.Ready != 2 || r.State != knative.StateReady {
		t.Errorf("%+v", r)
	}
	o.Ready = map[string]int{"half-2": 1}
	if r := Status(o).Revisions[0]; r.Ready != 1 || r.Starting != 2 {
		t.Errorf("%+v", r)
	}
}

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Image: "example.com/half:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}
}

func crashed(code int32, reason, output string) corev1.PodStatus {
	s := waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
	s.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: output}
	return s
}

// TestFailures reads what clusters say about the usual mistakes.
func TestFailures(t *testing.T) {
	t.Parallel()
	const (
		healthy   = servingv1.RevisionConditionContainerHealthy
		available = servingv1.RevisionConditionResourcesAvailable
	)
	lost := `{"level":"error","error":"model /models/half: no such folder","time":"2026-11-24T15:00:00Z","message":"function ends"}`
	for _, tt := range []struct {
		name   string
		pod    corev1.PodStatus
		cond   apis.Condition
		events []*corev1.Event
		want   string
	}{
		{name: "no such image, by Knative", cond: condition(healthy, "False", "ContainerMissing",
			`Unable to fetch image "example.com/half:1": failed to resolve image to digest: HEAD https://example.com/v2/half/manifests/1: unexpected status code 404 Not Found`),
			want: "image example.com/half:1 cannot be pulled, the registry does not have it: push it or give another --image"},
		{name: "no such image, by kubelet", pod: waiting("ImagePullBackOff", `Back-off pulling image "example.com/half:1": ErrImagePull: rpc error: code = NotFound desc = example.com/half:1: not found`),
			want: "the registry does not have it"},
		{name: "no rights to the image", pod: waiting("ImagePullBackOff", "failed to authorize: 401 Unauthorized"), want: "the registry refuses: give the service account an image pull secret"},
		{name: "no registry", cond: condition(healthy, "False", "ContainerMissing", "dial tcp: lookup example.com: no such host"), want: "the cluster does not reach its registry"},
		{name: "no image's name", pod: waiting("InvalidImageName", "couldn't parse image name \"A b\": invalid reference format"), want: "that is no image's name"},
		{name: "missing model", pod: crashed(1, "Error", "cut}\n"+lost+"\n"),
			want: "the function ends at its start (exit code 1), model /models/half: no such folder: give another --model, or an --image that has it"},
		{name: "missing model, by Knative", cond: condition(healthy, "False", "ExitCode1", "Container failed with: "+lost), want: "(exit code 1), model /models/half: no such folder: give another --model"},
		{name: "crash", pod: crashed(2, "Error", "panic: runtime error"), want: "(exit code 2), panic: runtime error: see weir logs"},
		{name: "silent crash", pod: crashed(139, "Error", ""), want: "exit code 139 and says nothing: see weir logs"},
		{name: "memory", pod: crashed(137, "OOMKilled", ""), want: "raise resources.limits.memory"},
		{name: "settings", pod: waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"), want: "runAsNonRoot and image will run as root): correct the manifest"},
		{name: "no rights", cond: condition(available, "False", "FailedCreate", `pods "x" is forbidden: serviceaccount "y" not found`), want: `refuses to make its pods (pods "x" is forbidden: serviceaccount "y" not found)`},
		{name: "too slow", cond: condition(available, "False", "ProgressDeadlineExceeded", "Initial scale was never achieved"), want: "no replica got ready in the time"},
		{name: "too slow, with an event", cond: condition(available, "False", "ProgressDeadlineExceeded", ""), want: "a volume cannot be mounted (no such secret): correct the manifest",
			events: []*corev1.Event{{Type: "Warning", Reason: "FailedMount", Message: "no such secret"}}},
		{name: "other", cond: condition(servingv1.RevisionConditionReady, "False", "Strange", "it is\n strange."), want: "it is strange: see kubectl describe revision"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := Objects{Service: service(), Pods: []*corev1.Pod{}, Events: tt.events}
			rev := revisionOf("half-2", 2)
			if tt.cond.Type != "" {
				rev = revisionOf("half-2", 2, tt.cond)
			} else {
				o.Pods = append(o.Pods, pod("half-2", tt.pod))
			}
			o.Revisions = []*servingv1.Revision{rev}
			s := Status(o)
			if r := s.Revisions[0]; r.State != knative.StateFailed || !strings.Contains(r.Message, tt.want) || strings.Contains(r.Message, "\n") {
				t.Errorf("%s: %s\nwant %s", r.State, r.Message, tt.want)
			}
			if s.Ready || !strings.HasPrefix(s.Message, "revision half-2 fails: ") {
				t.Errorf("service: ready %t, %s", s.Ready, s.Message)
			}
		})
	}
}

// TestStarting is not failed: a first error may pass.
func TestStarting(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]corev1.PodStatus{
		"creating": waiting("ContainerCreating", ""), "first pull": waiting("ErrImagePull", "not found"), "nothing": {},
	} {
		s := Status(Objects{Service: service(), Revisions: []*servingv1.Revision{revisionOf("half-2", 2)}, Pods: []*corev1.Pod{pod("half-2", status)}})
		if r := s.Revisions[0]; r.State != knative.StateStarting || r.Message != "" {
			t.Errorf("%s: %s %s", name, r.State, r.Message)
		}
	}
}

// TestNoRoom waits, since a cluster may grow or another pod end, and says for what.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	const message = "0/1 nodes are available: 1 Insufficient cpu."
	unschedulable := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: message}}}
	svc := service()
	svc.Status.SetConditions(nil)
	for name, pods := range map[string][]*corev1.Pod{"pod": {pod("half-2", unschedulable)}, "condition": {}} {
		rev := revisionOf("half-2", 2,
			condition(servingv1.RevisionConditionResourcesAvailable, "False", "Unschedulable", message), condition(servingv1.RevisionConditionReady, "False", "Unschedulable", message))
		s := Status(Objects{Service: svc, Revisions: []*servingv1.Revision{rev}, Pods: pods})
		if r := s.Revisions[0]; r.State != knative.StateStarting || !strings.HasPrefix(r.Message, "no node has room for a replica (0/1 nodes are available: 1 Insufficient cpu):") {
			t.Errorf("%s: %s %s", name, r.State, r.Message)
		}
		if s.Ready || !strings.HasPrefix(s.Message, "revision half-2 waits: no node has room") {
			t.Errorf("%s: %t %s", name, s.Ready, s.Message)
		}
	}
}

// TestNoVolume says that a claim is what a replica waits for, not room.
func TestNoVolume(t *testing.T) {
	t.Parallel()
	for _, message := range []string{`persistentvolumeclaim "weir-models" not found`, "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."} {
		rev := revisionOf("half-2", 2, condition(servingv1.RevisionConditionResourcesAvailable, "False", "Unschedulable", message))
		s := Status(Objects{Service: service(), Revisions: []*servingv1.Revision{rev}})
		if r := s.Revisions[0]; r.State != knative.StateStarting || !strings.Contains(r.Message, "make the claim or give another --cache-claim") {
			t.Errorf("%s: %s %s", message, r.State, r.Message)
		}
	}
}

// TestNotReady says why a Service without a failing revision is not ready.
func TestNotReady(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*servingv1.Service)
		want   string
	}{
		{"not seen yet", func(s *servingv1.Service) { s.Generation = 3 }, "it is being set up"},
		{"traffic to nobody", func(s *servingv1.Service) {
			s.Status.SetConditions(apis.Conditions{condition(servingv1.ServiceConditionRoutesReady, "False", "RevisionMissing", `Revision "x" referenced in traffic not found.`)})
		}, `Revision "x" referenced in traffic not found: see kubectl describe ksvc half`},
		{"starting", func(s *servingv1.Service) {
			s.Status.SetConditions(nil)
			s.Status.LatestReadyRevisionName = "half-1"
		}, "revision half-2 is starting for the first time"},
		{"no ingress yet", func(s *servingv1.Service) {
			s.Status.SetConditions(apis.Conditions{condition(servingv1.ServiceConditionRoutesReady, "Unknown", "Uninitialized", "Waiting for load balancer to be ready")})
		}, "its address is being set up: Waiting for load balancer to be ready"},
	} {
		svc := service()
		tt.change(svc)
		if s := Status(Objects{Service: svc, Pods: []*corev1.Pod{}}); s.Ready || s.Message != tt.want {
			t.Errorf("%s: ready %t, %q, want %q", tt.name, s.Ready, s.Message, tt.want)
		}
	}
}
