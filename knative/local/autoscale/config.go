package autoscale

import (
	asconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
)

// LoadConfig reads the data of the ConfigMap config-autoscaler. Nil means Knative's defaults; a key that Knative does
// not know is an error.
func LoadConfig(data map[string]string) (*autoscalerconfig.Config, error) {
	return asconfig.NewConfigFromMap(data)
}
