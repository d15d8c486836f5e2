package kind

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"weir.dev/weir/kind/install"
)

// clusterName is what the cluster is called by the tool that makes it.
const clusterName = "weir"

// nodePort is where Kourier's Service is reached on a node of kind and minikube; kind.yaml maps it, too.
const nodePort = 31080

// way is how a cluster is made and removed, and what is different on it.
type way struct {
	tools    []tool
	up, down []step
	registry string // name of the registry, as images are pushed and pulled
	ingress  string // where the ingress is on this machine; if empty, the cluster has an address of its own
	metrics  bool   // the cluster lacks metrics-server
	edit     func(*install.Object) bool
}

//go:embed kind.yaml
var kindConfig string

//go:embed hosts.toml
var kindRegistryHosts string

// onKind is a cluster of kind, with a registry beside it in Docker.
func onKind(kubeconfig string) way {
	const registry = "localhost:5001"
	return way{
		tools: []tool{
			{"docker", "sudo apt-get install docker.io, or https://docs.docker.com/get-docker"},
			{"kind", "go install sigs.k8s.io/kind@v0.31.0"},
		},
		up: []step{
			{
				why:    "a registry",
				args:   []string{"docker", "run", "-d", "--restart=always", "-p", "127.0.0.1:5001:5000", "--network", "bridge", "--name", "weir-registry", "registry:3"},
				unless: []string{"docker", "container", "inspect", "weir-registry"},
			},
			{
				why:    "the cluster",
				args:   []string{"kind", "create", "cluster", "--name", clusterName, "--kubeconfig", kubeconfig, "--wait", "2m", "--config", "-"},
				stdin:  kindConfig,
				unless: []string{"kind", "get", "kubeconfig", "--name", clusterName},
			},
			{why: "its kubeconfig", args: []string{"kind", "export", "kubeconfig", "--name", clusterName, "--kubeconfig", kubeconfig}},
			{
				why:    "the registry in the cluster's network",
				args:   []string{"docker", "network", "connect", "kind", "weir-registry"},
				unless: []string{"sh", "-c", "docker network inspect kind | grep -q weir-registry"},
			},
			{
				why:   "the registry's name for containerd",
				args:  []string{"docker", "exec", "-i", clusterName + "-control-plane", "sh", "-c", "mkdir -p /etc/containerd/certs.d/" + registry + " && cat > /etc/containerd/certs.d/" + registry + "/hosts.toml"},
				stdin: kindRegistryHosts,
			},
		},
		down: []step{
			{why: "the cluster", args: []string{"kind", "delete", "cluster", "--name", clusterName, "--kubeconfig", kubeconfig}},
			{why: "the registry", args: []string{"docker", "rm", "-f", "-v", "weir-registry"}},
		},
		registry: registry,
		ingress:  "127.0.0.1:80",
		metrics:  true,
		edit:     onNodePort(registry),
	}
}

// onMinikube is a cluster of minikube in Docker, with minikube's own registry and metrics-server.
func onMinikube(kubeconfig string) way {
	const registry = "localhost:5000"
	env := []string{"KUBECONFIG=" + kubeconfig}
	return way{
		tools: []tool{
			{"docker", "sudo apt-get install docker.io, or https://docs.docker.com/get-docker"},
			{"minikube", "brew install minikube, or https://minikube.sigs.k8s.io/docs/start"},
		},
		up: []step{{
			why: "the cluster",
			args: []string{"minikube", "start", "--profile", clusterName, "--driver", "docker", "--kubernetes-version", "v1.35.0",
				"--container-runtime", "containerd", "--cpus", "4", "--memory", "8g", "--addons", "registry,metrics-server",
				"--ports", fmt.Sprintf("127.0.0.1:80:%d", nodePort), "--ports", "127.0.0.1:5000:5000"},
			env: env,
		}},
		down:     []step{{why: "the cluster", args: []string{"minikube", "delete", "--profile", clusterName}, env: env}},
		registry: registry,
		ingress:  "127.0.0.1:80",
		edit:     onNodePort(registry),
	}
}

// GKE says where a cluster on Google Cloud is made.
type GKE struct {
	Project  string
	Location string // a region, or a zone for a Standard cluster
	Standard bool   // nodes of one's own instead of Autopilot
}

// onGKE is a cluster on Google Cloud with a repository for its images.
func onGKE(kubeconfig string, g GKE) way {
	region := regexp.MustCompile(`-[a-z]$`).ReplaceAllString(g.Location, "")
	where := []string{"--project", g.Project, "--location", g.Location}
	create := []string{"gcloud", "container", "clusters", "create-auto", clusterName, "--release-channel", "regular"}
	if g.Standard {
		create = []string{"gcloud", "container", "clusters", "create", clusterName, "--release-channel", "regular",
			"--machine-type", "e2-standard-4", "--num-nodes", "1", "--enable-autoscaling", "--min-nodes", "1", "--max-nodes", "5"}
	}
	repository := []string{"--project", g.Project, "--location", region}
	return way{
		tools: []tool{
			{"gcloud", "https://cloud.google.com/sdk/docs/install"},
			{"gke-gcloud-auth-plugin", "gcloud components install gke-gcloud-auth-plugin"},
		},
		up: []step{
			{
				why:    "the cluster (some minutes)",
				args:   append(create, where...),
				unless: append([]string{"gcloud", "container", "clusters", "describe", clusterName}, where...),
			},
			{
				why:  "its kubeconfig",
				args: append([]string{"gcloud", "container", "clusters", "get-credentials", clusterName}, where...),
				env:  []string{"KUBECONFIG=" + kubeconfig},
			},
			{
				why:    "a repository for images",
				args:   append([]string{"gcloud", "artifacts", "repositories", "create", clusterName, "--repository-format", "docker"}, repository...),
				unless: append([]string{"gcloud", "artifacts", "repositories", "describe", clusterName}, repository...),
			},
			{why: "the right to push to it", args: []string{"gcloud", "auth", "configure-docker", region + "-docker.pkg.dev", "--quiet"}},
		},
		down: []step{
			{why: "the cluster", args: append([]string{"gcloud", "container", "clusters", "delete", clusterName, "--quiet"}, where...)},
			{why: "the repository", args: append([]string{"gcloud", "artifacts", "repositories", "delete", clusterName, "--quiet"}, repository...)},
		},
		registry: region + "-docker.pkg.dev/" + g.Project + "/" + clusterName,
		edit:     func(*install.Object) bool { return true },
	}
}

// onNodePort makes objects fit a cluster that has no load balancer and a registry that pods cannot reach by its name:
// its tags are not resolved. kind's kubelet has a certificate that nobody signed.
func onNodePort(registry string) func(*install.Object) bool {
	return func(o *install.Object) bool {
		switch {
		case o.GetKind() == "Service" && o.GetName() == "kourier":
			setField(o, "NodePort", "spec", "type")
			ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
			for _, p := range ports {
				if p, ok := p.(map[string]any); ok && p["name"] == "http2" {
					p["nodePort"] = int64(nodePort)
				}
			}
			setField(o, ports, "spec", "ports")
		case o.GetKind() == "ConfigMap" && o.GetName() == "config-deployment":
			setField(o, skipTags(registry), "data", "registries-skipping-tag-resolving")
		case o.GetKind() == "Deployment" && o.GetName() == "metrics-server":
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			for _, c := range containers {
				if c, ok := c.(map[string]any); ok {
					args, _, _ := unstructured.NestedSlice(c, "args")
					c["args"] = append(args, "--kubelet-insecure-tls")
				}
			}
			setField(o, containers, "spec", "template", "spec", "containers")
		}
		return true
	}
}

// settings are the commands that do by hand what install.Run and the way's edits do to the manifests.
func (w way) settings(kubectl []string) []step {
	patch := func(why, namespace, object, patch string) step {
		return step{why: why, args: slices.Concat(kubectl, []string{"--namespace", namespace, "patch", object, "--type", "merge", "--patch", patch})}
	}
	steps := []step{
		patch("Knative uses Kourier", "knative-serving", "configmap/config-network",
			`{"data": {"ingress-class": "kourier.ingress.networking.knative.dev"}}`),
		patch("the autoscaler shows its numbers", "knative-serving", "configmap/config-observability", `{"data": {"metrics-protocol": "prometheus"}}`),
		{why: "which it reads when it starts", args: slices.Concat(kubectl, []string{"--namespace", "knative-serving", "rollout", "restart", "deployment/autoscaler"})},
	}
	if w.ingress == "" {
		return append(steps, step{why: "the domain is the ingress's address, by way of sslip.io", args: []string{"sh", "-c",
			quoted(kubectl) + ` --namespace knative-serving patch configmap/config-domain --type merge --patch ` +
				`"{\"data\": {\"$(` + quoted(kubectl) + ` --namespace kourier-system get service kourier -o jsonpath={.status.loadBalancer.ingress[0].ip}).sslip.io\": \"\"}}"`}})
	}
	steps = append(steps,
		patch("the domain", "knative-serving", "configmap/config-domain", `{"data": {"`+Domain+`": ""}}`),
		patch("no tags are looked up in a registry that pods do not reach", "knative-serving", "configmap/config-deployment",
			`{"data": {"registries-skipping-tag-resolving": "`+skipTags(w.registry)+`"}}`),
		step{why: "the ingress at a port of the node", args: slices.Concat(kubectl, []string{"--namespace", "kourier-system", "patch", "service/kourier",
			"--patch", fmt.Sprintf(`{"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": %d}]}}`, nodePort)})})
	if w.metrics {
		steps = append(steps, step{why: "the kubelet's certificate, which nobody signed", args: slices.Concat(kubectl, []string{"--namespace", "kube-system",
			"patch", "deployment/metrics-server", "--type", "json", "--patch", `[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--kubelet-insecure-tls"}]`})})
	}
	return steps
}

// skipTags is Knative's list of registries whose tags it does not resolve, with one more.
func skipTags(registry string) string { return "kind.local,ko.local,dev.local," + registry }

func setField(o *install.Object, value any, fields ...string) {
	// The only error is a parent that is no map, and the API server says so better.
	_ = unstructured.SetNestedField(o.Object, value, fields...)
}
