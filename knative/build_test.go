package knative

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"
)

// deployedBefore is a manifest as it is deployed.
func deployedBefore(t *testing.T, file string) *servingv1.Service {
	t.Helper()
	services, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	svc := services[0]
	svc.Spec.Template.Annotations[AnnotationLocalDir] = "/weir/knative"
	if _, err := Prepare(context.Background(), svc); err != nil {
		t.Fatal(err)
	}
	return svc
}

// failedAfter is imagenet with a third revision that was to share the traffic under a tag.
func failedAfter(t *testing.T) *servingv1.Service {
	t.Helper()
	svc, err := Build(deployedBefore(t, "testdata/imagenet.yaml"), DeployOptions{
		Name: "imagenet", Cluster: true, Image: "example.com/imagenet:3", Traffic: ptr(33), Tag: "third",
	})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func ptr[T any](v T) *T { return &v }

// TestBuild compares whole Services with golden files; all of them have been through Knative's validation in Build.
func TestBuild(t *testing.T) {
	t.Parallel()
	first := DeployOptions{Name: "cats", Model: "/models/cats/1", Function: "/weir/bin/functions/savedmodel"}
	deployed, err := Build(nil, first)
	if err != nil {
		t.Fatal(err)
	}
	second := first
	second.Model = "/models/cats/2"
	tests := []struct {
		name     string
		existing *servingv1.Service
		options  DeployOptions
	}{
		{name: "new", options: first},
		{name: "new-all-settings", options: DeployOptions{
			Name: "cats", Model: "https://example.com/cats 2.tar.gz", Function: "/opt/my weir/savedmodel", Image: "example.com/cats:2", Tag: "v2",
			Traffic: ptr(100), MinScale: 1, MaxScale: 4, Concurrency: 8, Target: 5, Window: 90 * time.Second,
			Version: 7, Env: []string{"B=2", "A=1=1"}, Images: true,
		}},
		{name: "new-batch", options: func() DeployOptions {
			o := first
			o.Batch = "16"
			return o
		}()},
		{name: "new-command", options: DeployOptions{Name: "cats", Command: "/usr/bin/python3 /srv/cats.py"}},
		{name: "update", existing: deployed, options: second},
		{name: "update-canary", existing: deployed, options: func() DeployOptions {
			o := second
			o.Tag, o.Traffic = "canary", ptr(10)
			return o
		}()},
		{name: "update-after-failure", existing: deployed, options: func() DeployOptions {
			o := second
			o.Tag, o.Traffic, o.Failed = "canary", ptr(10), []string{"cats-00001"}
			return o
		}()},
		{name: "update-imagenet-after-failure", existing: failedAfter(t), options: DeployOptions{
			Name: "imagenet", Cluster: true, Image: "example.com/imagenet:4", Traffic: ptr(50), Failed: []string{"imagenet-00003"},
		}},
		{name: "cluster-h2c", existing: deployed, options: DeployOptions{Name: "cats", Cluster: true, Image: "example.com/cats:2", H2C: true}},
		{name: "update-settings-only", existing: deployed, options: DeployOptions{Name: "cats", MaxScale: 9}},
		{name: "update-to-zero", existing: deployedBefore(t, "testdata/digits.yaml"), options: DeployOptions{
			Name: "digits", Given: func(string) bool { return true },
		}},
		{name: "update-imagenet", existing: deployedBefore(t, "testdata/imagenet.yaml"), options: DeployOptions{
			Name: "imagenet", Model: "/models/imagenet/3", Function: "/weir/bin/functions/savedmodel", Tag: "lite2", Traffic: ptr(25),
			Env: []string{"TOP=3"},
		}},
		{name: "cluster-image", options: DeployOptions{Name: "cats", Cluster: true, Image: "example.com/cats:1"}},
		{name: "cluster-address", existing: deployed, options: DeployOptions{
			Name: "cats", Cluster: true, Model: "https://example.com/cats/3.tar.gz", Traffic: ptr(20), Tag: "next",
		}},
		{name: "cluster-cache", existing: deployed, options: DeployOptions{
			Name: "cats", Cluster: true, Model: "https://example.com/cats/3.tar.gz", CacheClaim: "weir-models",
		}},
		{name: "update-latest-revision", existing: deployedBefore(t, "testdata/digits.yaml"), options: DeployOptions{
			Name: "digits", Model: "/models/digits/2", Function: "/weir/bin/functions/savedmodel", Traffic: ptr(50),
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := tt.existing.DeepCopy()
			svc, err := Build(tt.existing, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tt.existing); diff != "" {
				t.Errorf("the existing Service was changed:\n%s", diff)
			}
			text, err := yaml.Marshal(svc)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "build/"+tt.name+".yaml", string(text))
			again, err := Parse(tt.name, text)
			if err != nil || len(again) != 1 {
				t.Fatalf("what was built cannot be read: %v", err)
			}
			if err := ValidateLocal(again[0]); (err == nil) == tt.options.Cluster {
				t.Error(err)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	good := DeployOptions{Name: "m", Model: "/m", Function: "/f"}
	existing, err := Build(nil, good)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		existing *servingv1.Service
		change   func(*DeployOptions)
		want     []string
	}{
		{name: "nothing to serve", change: func(o *DeployOptions) { o.Model = "" }, want: []string{"--model is required"}},
		{name: "a cluster's nothing", change: func(o *DeployOptions) { o.Model, o.Cluster = "", true }, want: []string{"--model or --image is required"}},
		{name: "a folder here for a cluster", change: func(o *DeployOptions) { o.Model, o.Cluster = "file:///m", true }, want: []string{"sees no folder of this machine"}},
		{name: "relative", change: func(o *DeployOptions) { o.Model, o.Function = "m", "f" }, want: []string{`--model "m": a folder's path must be absolute`, `program "f" must be an absolute`}},
		{name: "other scheme", change: func(o *DeployOptions) { o.Model = "ftp://b/m" }, want: []string{`"ftp" is not known`}},
		{name: "http from elsewhere", change: func(o *DeployOptions) { o.Model = "http://example.com/m.tar" }, want: []string{"use https"}},
		{name: "relative file", change: func(o *DeployOptions) { o.Model = "file://models/m" }, want: []string{"file:///path"}},
		{name: "percent", existing: existing, change: func(o *DeployOptions) { o.Traffic = ptr(101) }, want: []string{"--traffic 101: it must be from 0 to 100"}},
		{name: "first takes all", change: func(o *DeployOptions) { o.Traffic = ptr(10) }, want: []string{"the first revision takes all"}},
		{name: "other service", existing: existing, change: func(o *DeployOptions) { o.Name = "n" }, want: []string{"the existing service is m"}},
		{name: "no model", existing: deployedBefore(t, "10-router.yaml"), change: func(o *DeployOptions) { o.Name = "router" }, want: []string{"service router is no model"}},
		{name: "name", change: func(o *DeployOptions) { o.Name = "My_Model" }, want: []string{"not a DNS 1035 label"}},
		{name: "tag", change: func(o *DeployOptions) { o.Tag = "v1.2" }, want: []string{"not a DNS 1035 label", "spec.traffic.tag[0]"}},
		{name: "bounds", change: func(o *DeployOptions) { o.MinScale, o.MaxScale = 3, 2 }, want: []string{"max-scale=2 is less than min-scale=3"}},
		{name: "all at once", change: func(o *DeployOptions) { o.MinScale, o.Version, o.Function, o.Env = -1, -1, "", []string{"A"} }, want: []string{"--min-scale -1", "--version -1", "absolute path", `--env "A"`}},
		{name: "batch over concurrency", change: func(o *DeployOptions) { o.Batch, o.Concurrency = "16", 4 }, want: []string{"at most 4 requests at once", "a containerConcurrency of 32"}},
		{name: "batch over target", change: func(o *DeployOptions) { o.Batch, o.Target = "16", 8 }, want: []string{"another replica is started at 8 requests"}},
		{name: "window", change: func(o *DeployOptions) { o.Window = time.Second }, want: []string{"autoscaling.knative.dev/window"}},
		{name: "reserved env", change: func(o *DeployOptions) { o.Env = []string{"PORT=1"} }, want: []string{`"PORT" is a reserved environment variable`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good
			tt.change(&o)
			svc, err := Build(tt.existing, o)
			if err == nil || svc != nil {
				t.Fatalf("Build = %v, %v, want an error", svc, err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error lacks %q:\n%v", part, err)
				}
			}
		})
	}
}

func TestNextRevision(t *testing.T) {
	t.Parallel()
	svc := &servingv1.Service{}
	svc.Spec.Template.Name = "m-00002"
	svc.Spec.Traffic = []servingv1.TrafficTarget{{RevisionName: "m-00009"}, {RevisionName: "m-blue"}, {RevisionName: "m-00010x"}}
	if got := nextRevision(svc, "m", []string{"m-00011"}); got != "m-00012" {
		t.Errorf("next is %s", got)
	}
	if got := nextRevision(&servingv1.Service{}, "m", []string{""}); got != "m-00001" {
		t.Errorf("first is %s", got)
	}
}
