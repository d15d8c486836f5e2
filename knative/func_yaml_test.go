package knative

import (
	"bytes"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"knative.dev/serving/pkg/apis/autoscaling"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// function is what a func.yaml and a manifest say alike.
type function struct {
	Name, Model, Liveness, Readiness string
	CPU, Memory, MemoryLimit         string
	Min, Max, Target                 string
	Concurrency                      int64
	Annotations                      map[string]string
}

// TestFuncYAML holds every func.yaml against the schema of knative.dev/func and against its manifest.
func TestFuncYAML(t *testing.T) {
	t.Parallel()
	compiler := jsonschema.NewCompiler()
	schema, err := compiler.Compile("testdata/func/func_yaml-schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for file, manifest := range map[string]string{
		"../func.yaml":                    "10-router.yaml",
		"../functions/digits/func.yaml":   "20-digits.yaml",
		"../functions/embed/func.yaml":    "21-embed.yaml",
		"../functions/imagenet/func.yaml": "30-imagenet-lite0.yaml",
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			asJSON, err := yaml.YAMLToJSONStrict(data)
			if err != nil {
				t.Fatal(err)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(value); err != nil {
				t.Error(err)
			}
			services, err := Load(manifest)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(ofManifest(services[0]), ofFunction(t, data)); diff != "" {
				t.Errorf("%s and %s differ:\n%s", manifest, file, diff)
			}
		})
	}
}

func ofManifest(svc *servingv1.Service) function {
	template := svc.Spec.Template
	c := template.Spec.Containers[0]
	_, least, _ := autoscaling.MinScaleAnnotation.Get(template.Annotations)
	_, most, _ := autoscaling.MaxScaleAnnotation.Get(template.Annotations)
	_, target, _ := autoscaling.TargetAnnotation.Get(template.Annotations)
	return function{
		Name: svc.Name, Model: template.Labels[LabelModel],
		Liveness: c.LivenessProbe.HTTPGet.Path, Readiness: c.ReadinessProbe.HTTPGet.Path,
		CPU: c.Resources.Requests.Cpu().String(), Memory: c.Resources.Requests.Memory().String(),
		MemoryLimit: c.Resources.Limits.Memory().String(),
		Min:         least, Max: most, Target: target,
		Concurrency: *template.Spec.ContainerConcurrency,
		Annotations: sharedAnnotations(template.Annotations),
	}
}

// sharedAnnotations are those that func.yaml gives as they are: scale has fields of its own, and there is no one machine.
func sharedAnnotations(all map[string]string) map[string]string {
	shared := map[string]string{}
	for _, name := range []string{AnnotationVersion, AnnotationEventTypes, AnnotationImages, "features.knative.dev/http-full-duplex"} {
		if v, ok := all[name]; ok {
			shared[name] = v
		}
	}
	return shared
}

func ofFunction(t *testing.T, data []byte) function {
	t.Helper()
	var f struct {
		Name   string
		Deploy struct {
			Annotations map[string]string
			Labels      []struct{ Key, Value string }
			Options     struct {
				Scale     struct{ Min, Max, Target *int }
				Resources struct {
					Requests struct{ CPU, Memory string }
					Limits   struct {
						Memory      string
						Concurrency int64
					}
				}
			}
			HealthEndpoints struct{ Liveness, Readiness string }
		}
	}
	if err := yaml.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	number := func(n *int) string {
		if n == nil {
			return ""
		}
		return strconv.Itoa(*n)
	}
	d := f.Deploy
	out := function{
		Name:     f.Name,
		Liveness: d.HealthEndpoints.Liveness, Readiness: d.HealthEndpoints.Readiness,
		CPU: d.Options.Resources.Requests.CPU, Memory: d.Options.Resources.Requests.Memory,
		MemoryLimit: d.Options.Resources.Limits.Memory,
		Min:         number(d.Options.Scale.Min), Max: number(d.Options.Scale.Max), Target: number(d.Options.Scale.Target),
		Concurrency: d.Options.Resources.Limits.Concurrency,
		Annotations: d.Annotations,
	}
	for _, l := range d.Labels {
		if l.Key == LabelModel {
			out.Model = l.Value
		}
	}
	return out
}
