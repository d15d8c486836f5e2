package knative

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// newService is a model's Service before its first revision: what every model of the manifests has too.
func newService(name string) *servingv1.Service {
	svc := &servingv1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: servingv1.SchemeGroupVersion.String(), Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{LabelModel: name}},
	}
	t := &svc.Spec.Template
	t.Labels = map[string]string{LabelModel: name}
	t.Spec.Containers = []corev1.Container{{
		Image:          DefaultImage,
		ReadinessProbe: probe("/readyz"),
		LivenessProbe:  probe("/healthz"),
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("768Mi"),
		}},
		SecurityContext: restricted(),
	}}
	return svc
}

func probe(path string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(0)}}}
}

// restricted is what the restricted pod security standard asks for.
func restricted() *corev1.SecurityContext {
	yes, no := true, false
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
		RunAsNonRoot:             &yes,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// cacheDir is where a model that is fetched by its address is kept in a pod: the root file system is read-only.
const cacheDir = "/cache"

// cacheGroup is the group of the images' user: a volume that a cluster makes belongs to nobody else that could write in it.
const cacheGroup = 65532

// addCache gives the pod a place for what it fetches: the claim's volume, or if that is empty one of its own, unless it
// has one already.
func addCache(pod *corev1.PodSpec, claim string) {
	const name = "model-cache"
	at := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if at < 0 {
		at = len(pod.Volumes)
		pod.Volumes = append(pod.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		c := &pod.Containers[0]
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: cacheDir})
		setEnv(c, EnvCache, cacheDir)
	}
	if claim == "" {
		return
	}
	pod.Volumes[at].VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
	if pod.SecurityContext == nil {
		pod.SecurityContext = &corev1.PodSecurityContext{}
	}
	group := int64(cacheGroup)
	pod.SecurityContext.FSGroup = &group
}
