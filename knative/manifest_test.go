package knative

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
)

// TestShippedManifests holds the folder's own manifests against every rule: they load, need no warning, and a replica
// of each can run on one machine.
func TestShippedManifests(t *testing.T) {
	t.Parallel()
	services, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	type summary struct {
		Service, Revision, Image string
		Command                  []string
		Traffic                  []Target
	}
	var got []summary
	for _, svc := range services {
		warnings, err := Prepare(context.Background(), svc)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: warnings %q, error %v", svc.Name, warnings, err)
		}
		if err := ValidateLocal(svc); err != nil {
			t.Error(err)
		}
		command, err := LocalCommand(&svc.Spec.Template)
		if err != nil {
			t.Error(err)
		}
		for i := range command {
			command[i] = strings.TrimPrefix(command[i], root)
		}
		name := RevisionName(svc, 1)
		traffic, err := Traffic(svc, name)
		if err != nil {
			t.Error(err)
		}
		got = append(got, summary{svc.Name, name, svc.Spec.Template.Spec.Containers[0].Image, command, traffic})
	}
	function := func(name, version string) []string {
		return []string{"/bin/functions/" + name, "--model", "/build/models/" + name + "/" + version}
	}
	want := []summary{
		{"router", "router-00001", "weir/router", []string{CommandRouter}, []Target{{Revision: "router-00001", Percent: 100}}},
		{"digits", "digits-00001", "weir/digits", function("digits", "1"), []Target{{Revision: "digits-00001", Percent: 100}}},
		{"embed", "embed-00001", "weir/embed", function("embed", "1"), []Target{{Revision: "embed-00001", Percent: 100}}},
		{"imagenet", "imagenet-lite0", "weir/imagenet", function("imagenet", "1"), []Target{{Revision: "imagenet-lite0", Tag: "lite0", Percent: 100}}},
		{"imagenet", "imagenet-lite2", "weir/imagenet", function("imagenet", "2"), []Target{
			{Revision: "imagenet-lite0", Tag: "lite0", Percent: 100}, {Revision: "imagenet-lite2", Tag: "lite2"},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("manifests (-want +got):\n%s", diff)
	}
}

const minimal = `apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: m
spec:
  template:
    spec:
      containers:
        - image: weir/m
`

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string // names
		err        string   // whole
	}{
		{name: "one", text: minimal, want: []string{"m"}},
		{name: "empty", text: "# nothing\n"},
		{name: "several", text: "# first\n---\n" + minimal + "--- # next\n" + strings.Replace(minimal, "name: m", "name: p", 1) + "---\n", want: []string{"m", "p"}},
		{name: "unknown fields with their lines", text: strings.Replace(minimal, "image:", "imgae: x\n          image:", 1) + "  trffic: []\n",
			err: "f.yaml:9: unknown field \"spec.template.spec.containers[0].imgae\"\nf.yaml:11: unknown field \"spec.trffic\": expected one of template, traffic"},
		{name: "line in the second document", text: minimal + "---\n" + minimal + "  trffic: []\n", err: "f.yaml:20: unknown field \"spec.trffic\": expected one of template, traffic"},
		{name: "repeated field", text: minimal + "kind: Service\n", err: `f.yaml:10: key "kind" already set in map`},
		{name: "no YAML", text: "a: b\n c: [\n", err: "f.yaml:2: mapping values are not allowed in this context"},
		{name: "wrong type", text: strings.Replace(minimal, "    spec:\n", "    spec:\n      containerConcurrency: many\n", 1),
			err: "f.yaml:8: spec.template.spec.containerConcurrency: expected a whole number, not text"},
		{name: "a name that YAML takes for a boolean", text: strings.Replace(minimal, "name: m", "name: n", 1), err: "f.yaml:4: metadata.name: expected text, not true or false"},
		{name: "a list", text: "- a\n", err: "f.yaml:1: not a Kubernetes object: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type struct { APIVersion string; Kind string }"},
		{name: "other kinds", text: "\napiVersion: apps/v1\nkind: Deployment\n---\nkind: Service\napiVersion: v1\n---\nfoo: bar\n",
			err: "f.yaml:2: kind Deployment of apps/v1: only kind Service of serving.knative.dev/v1 is deployed; leave it out and apply it with kubectl\n" +
				"f.yaml:5: kind Service of v1: only kind Service of serving.knative.dev/v1 is deployed; leave it out and apply it with kubectl\n" +
				"f.yaml:8: kind (none) of (none): only kind Service of serving.knative.dev/v1 is deployed; leave it out and apply it with kubectl"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			services, err := Parse("f.yaml", []byte(tt.text))
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(tt.err, text); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, names(services)); diff != "" {
				t.Errorf("services (-want +got):\n%s", diff)
			}
		})
	}
}

func names(services []*servingv1.Service) []string {
	var out []string
	for _, svc := range services {
		out = append(out, svc.Name)
	}
	return out
}

func TestLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "no *.yaml") {
		t.Errorf("an empty folder: %v", err)
	}
	write("b.yml", strings.Replace(minimal, "name: m", "name: b", 1))
	write("a.yaml", strings.Replace(minimal, "name: m", "name: a", 1))
	write("kustomization.yaml", "resources: [a.yaml]\n")
	write("notes.txt", "none")
	services, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, names(services)); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if got := services[0].Spec.Template.Annotations[AnnotationLocalDir]; got != dir {
		t.Errorf("folder %q, want %q", got, dir)
	}
	if services, err = Load(filepath.Join(dir, "b.yml")); err != nil || len(services) != 1 {
		t.Errorf("one file: %v, %v", services, err)
	}
	write("c.yaml", "kind: Pod\n")
	write("d.yaml", "kind: [\n")
	_, err = Load(dir)
	for _, part := range []string{"c.yaml:1: kind Pod", "d.yaml:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
	if _, err := Load(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing path loads")
	}
}

// FuzzParse sees that no text makes the reader panic and that what it takes can be prepared or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("---\n--- \n---\tx\n"))
	f.Add([]byte("a: &a [*a]\n"))
	for _, file := range []string{"10-router.yaml", "31-imagenet-lite2.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		services, _ := Parse("fuzz.yaml", data)
		for _, svc := range services {
			if _, err := Prepare(context.Background(), svc); err == nil {
				_ = ValidateLocal(svc)
				_, _ = NewRevision(svc, 1)
				_, _ = Traffic(svc, "latest")
			}
		}
	})
}
