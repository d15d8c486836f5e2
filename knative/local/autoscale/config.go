package autoscale

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"knative.dev/pkg/configmap"
	"knative.dev/serving/pkg/apis/autoscaling"
	asconfig "knative.dev/serving/pkg/autoscaler/config"
	"knative.dev/serving/pkg/autoscaler/config/autoscalerconfig"
)

// configKeys returns the keys of config-autoscaler that asconfig.NewConfigFromMap reads. Activator-capacity changes
// nothing on one machine: it says how many activators share the load, and there is one throttle.
func configKeys() []string {
	return []string{
		"activator-capacity", "allow-zero-initial-scale", "container-concurrency-target-default",
		"container-concurrency-target-percentage", "enable-scale-to-zero", "initial-scale", "max-scale",
		"max-scale-down-rate", "max-scale-limit", "max-scale-up-rate", "min-scale", "panic-threshold-percentage",
		"panic-window-percentage", "pod-autoscaler-class", "requests-per-second-target-default", "scale-down-delay",
		"scale-to-zero-grace-period", "scale-to-zero-pod-retention-period", "stable-window", "target-burst-capacity",
	}
}

// LoadConfig reads the data of the ConfigMap config-autoscaler. Nil means Knative's defaults. A key that Knative does
// not know and a class that one machine cannot honour are errors.
func LoadConfig(data map[string]string) (*autoscalerconfig.Config, error) {
	var problems []error
	known := configKeys()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if key != configmap.ExampleKey && !slices.Contains(known, key) {
			problems = append(problems, fmt.Errorf("%s: no such key; the keys are %s", key, strings.Join(known, ", ")))
		}
	}
	cfg, err := asconfig.NewConfigFromMap(data)
	if err != nil {
		problems = append(problems, err)
	} else if class := cfg.PodAutoscalerClass; class != autoscaling.KPA {
		problems = append(problems, fmt.Errorf("pod-autoscaler-class: one machine scales by %s, not by %q: leave it out", autoscaling.KPA, class))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("config-autoscaler: %w", errors.Join(problems...))
	}
	return cfg, nil
}
