package knative

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/serving"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"weir.dev/weir/knative/local/autoscale"
)

// parse reads the Services of a test's text.
func parse(t *testing.T, text string) []*servingv1.Service {
	t.Helper()
	services, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return services
}

// TestPrepareErrors holds what is said about each Service of testdata/bad.yaml, whole, against a golden file.
func TestPrepareErrors(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "bad.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, svc := range parse(t, string(data)) {
		warnings, err := Prepare(context.Background(), svc)
		fmt.Fprintf(&b, "== %s\n", svc.Name)
		for _, warning := range warnings {
			fmt.Fprintf(&b, "warning: %s\n", warning)
		}
		if err != nil {
			fmt.Fprintf(&b, "error: %v\n", err)
		}
		if err := ValidateLocal(svc); err != nil {
			fmt.Fprintf(&b, "local: %v\n", err)
		}
	}
	golden(t, "bad.golden", b.String())
}

func TestPrepareDefaults(t *testing.T) {
	t.Parallel()
	svc := parse(t, minimal)[0]
	warnings, err := Prepare(context.Background(), svc)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) == 0 {
		t.Error("no warning about an insecure security context")
	}
	spec := svc.Spec.Template.Spec
	if *spec.TimeoutSeconds != 300 || *spec.ContainerConcurrency != 0 || spec.Containers[0].ReadinessProbe == nil {
		t.Errorf("defaults are not Knative's: %+v", spec)
	}
	before := svc.DeepCopy()
	if _, err := Prepare(context.Background(), svc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Spec, svc.Spec); diff != "" {
		t.Errorf("preparing twice changes it:\n%s", diff)
	}
}

func TestPrepareUpdate(t *testing.T) {
	t.Parallel()
	before := parse(t, minimal)[0]
	before.Spec.Template.Name = "m-blue"
	after := before.DeepCopy()
	if _, err := Prepare(context.Background(), before); err != nil {
		t.Fatal(err)
	}
	ctx := apis.WithinUpdate(context.Background(), before)
	if _, err := Prepare(ctx, after); err != nil || !TemplateEqual(&before.Spec.Template, &after.Spec.Template) {
		t.Errorf("the same manifest again: %v", err)
	}
	after.Spec.Template.Spec.Containers[0].Image = "weir/other"
	if _, err := Prepare(ctx, after); err == nil || !strings.Contains(err.Error(), "without a name change") {
		t.Errorf("a changed template under the same name: %v", err)
	}
}

func TestWithAutoscaler(t *testing.T) {
	t.Parallel()
	svc := parse(t, minimal)[0]
	svc.Spec.Template.Annotations = map[string]string{"autoscaling.knative.dev/initial-scale": "0"}
	if _, err := Prepare(context.Background(), svc.DeepCopy()); err == nil {
		t.Error("initial-scale 0 is allowed by default")
	}
	cfg, err := autoscale.LoadConfig(map[string]string{"allow-zero-initial-scale": "true"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(WithAutoscaler(context.Background(), cfg), svc); err != nil {
		t.Error(err)
	}
}

func TestLocalCommand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, command, dir string
		want               []string
		err                string
	}{
		{name: "relative", command: "../bin/f --model ./m --x=../y z/w", dir: "/a/b", want: []string{"/a/bin/f", "--model", "/a/b/m", "--x=../y", "z/w"}},
		{name: "in PATH", command: "python3 serve.py", want: []string{"python3", "serve.py"}},
		{name: "folder without dot", command: "bin/f", dir: "/a", want: []string{"/a/bin/f"}},
		{name: "quotes", command: `/f "a b" 'c d' e\ f`, want: []string{"/f", "a b", "c d", "e f"}},
		{name: "router", command: "builtin:router", want: []string{"builtin:router"}},
		{name: "router with arguments", command: "builtin:router x", err: "the only built-in command is builtin:router, without arguments"},
		{name: "other built-in", command: "builtin:cache", err: "the only built-in command is builtin:router, without arguments"},
		{name: "open quote", command: `/f "a`, err: "EOF found when expecting closing quote"},
		{name: "empty", command: " ", err: "empty: it must name a program"},
		{name: "relative to nothing", command: "./f", err: "give an absolute path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			template := &servingv1.RevisionTemplateSpec{}
			template.Annotations = map[string]string{AnnotationLocalCommand: tt.command, AnnotationLocalDir: tt.dir}
			got, err := LocalCommand(template)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v, (-want +got):\n%s", err, diff)
			}
		})
	}
	if _, err := LocalCommand(&servingv1.RevisionTemplateSpec{}); err == nil {
		t.Error("no command is a command")
	}
}

func TestNewRevision(t *testing.T) {
	t.Parallel()
	svc := parse(t, minimal)[0]
	if _, err := Prepare(context.Background(), svc); err != nil {
		t.Fatal(err)
	}
	rev, err := NewRevision(svc, 3)
	if err != nil {
		t.Fatal(err)
	}
	if rev.Name != "m-00003" || rev.Name != RevisionName(svc, 3) || rev.Namespace != DefaultNamespace {
		t.Errorf("revision %s/%s", rev.Namespace, rev.Name)
	}
	want := map[string]string{
		serving.ServiceLabelKey: "m", serving.ConfigurationLabelKey: "m", serving.ConfigurationGenerationLabelKey: "3",
	}
	if diff := cmp.Diff(want, rev.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if err := rev.Validate(context.Background()).Filter(apis.ErrorLevel); err != nil {
		t.Errorf("Knative refuses it: %v", err)
	}
	rev.Spec.Containers[0].Image = "other"
	rev.Labels["x"] = "y"
	if svc.Spec.Template.Spec.Containers[0].Image != "weir/m" || svc.Spec.Template.Labels["x"] != "" {
		t.Error("the revision shares memory with the Service")
	}
	svc.Spec.Template.Name = "m-blue"
	if rev, err = NewRevision(svc, 4); err != nil || rev.Name != "m-blue" {
		t.Errorf("named template: %v, %v", rev, err)
	}
	if _, err := NewRevision(svc, 0); err == nil {
		t.Error("generation 0 makes a revision")
	}
}

func TestCheckRevision(t *testing.T) {
	t.Parallel()
	svc := parse(t, minimal)[0]
	svc.Spec.Template.Name = "m-blue"
	svc.Spec.Template.Annotations = map[string]string{AnnotationLocalCommand: "./f", AnnotationLocalDir: "/a"}
	rev, err := NewRevision(svc, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*servingv1.Service)
		equal  bool   // as templates
		err    string // of CheckRevision
	}{
		{name: "same", change: func(*servingv1.Service) {}, equal: true},
		{name: "moved folder", change: func(s *servingv1.Service) { s.Spec.Template.Annotations[AnnotationLocalDir] = "/b" }, equal: true},
		{name: "other traffic", change: func(s *servingv1.Service) { s.Spec.Traffic = []servingv1.TrafficTarget{{Tag: "x"}} }, equal: true},
		{name: "new name", change: func(s *servingv1.Service) { s.Spec.Template.Name = "m-green" }},
		{name: "other image", change: func(s *servingv1.Service) { s.Spec.Template.Spec.Containers[0].Image = "x" }, err: "m-blue is there with another spec"},
		{name: "other command", change: func(s *servingv1.Service) { s.Spec.Template.Annotations[AnnotationLocalCommand] = "./g" }, err: "another local.weir.dev/command: give"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			changed := svc.DeepCopy()
			tt.change(changed)
			if got := TemplateEqual(&svc.Spec.Template, &changed.Spec.Template); got != tt.equal {
				t.Errorf("TemplateEqual = %v", got)
			}
			err := CheckRevision(rev, changed)
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("CheckRevision: %v, want %q", err, tt.err)
			}
		})
	}
}
