package knative

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/internal/strictyaml"
)

// Load reads the Services of a YAML file, or of a folder's *.yaml and *.yml files in the order of their names without
// kustomization.yaml. It sets AnnotationLocalDir of every template to the file's absolute folder. All problems of all
// files are reported at once.
func Load(path string) ([]*servingv1.Service, error) {
	files, err := manifestFiles(path)
	if err != nil {
		return nil, err
	}
	var all []*servingv1.Service
	var problems []error
	for _, file := range files {
		services, err := loadFile(file)
		if err != nil {
			problems = append(problems, err)
		}
		all = append(all, services...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no Knative Service in it", path)
	}
	return all, nil
}

func manifestFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		ext := filepath.Ext(name)
		if entry.IsDir() || ext != ".yaml" && ext != ".yml" || strings.TrimSuffix(name, ext) == "kustomization" {
			continue
		}
		files = append(files, filepath.Join(path, name))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no *.yaml or *.yml file in this folder", path)
	}
	return files, nil
}

func loadFile(path string) ([]*servingv1.Service, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	// Where the file itself is, if this is a link to it: its relative paths start there.
	file, err := filepath.EvalSymlinks(path)
	if err == nil {
		file, err = filepath.Abs(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	services, err := Parse(path, data)
	for _, svc := range services {
		setLocalDir(svc, filepath.Dir(file))
	}
	return services, err
}

func setLocalDir(svc *servingv1.Service, dir string) {
	if svc.Spec.Template.Annotations == nil {
		svc.Spec.Template.Annotations = make(map[string]string, 1)
	}
	svc.Spec.Template.Annotations[AnnotationLocalDir] = dir
}

// Parse reads the Services of one YAML text of one or more documents, strictly: an unknown or repeated field and every
// kind but a Service of serving.knative.dev/v1 is an error, with the name, which is usually a path, and the line. The
// Services are as written: Prepare fills in the defaults.
func Parse(name string, data []byte) ([]*servingv1.Service, error) {
	var services []*servingv1.Service
	var problems []error
	for _, doc := range documents(data) {
		svc, err := parseService(name, doc)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if svc != nil {
			services = append(services, svc)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return services, nil
}

// documents splits a YAML text at its --- lines. Each document is preceded by as many empty lines as stand before it,
// so that line numbers are the text's.
func documents(data []byte) [][]byte {
	var docs [][]byte
	var doc []byte
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if rest, ok := bytes.CutPrefix(line, []byte("---")); ok && isSeparator(rest) {
			docs = append(docs, doc)
			doc = append(bytes.Repeat([]byte("\n"), i), rest...)
			continue
		}
		doc = append(doc, line...)
	}
	return append(docs, doc)
}

// isSeparator says whether what follows --- in its line makes it the start of a document.
func isSeparator(rest []byte) bool {
	return len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")
}

// parseService reads one document; nil if it is empty.
func parseService(name string, text []byte) (*servingv1.Service, error) {
	doc, err := strictyaml.Parse(name, text)
	if err != nil || doc.Empty() {
		return nil, err
	}
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal(doc.JSON(), &head); err != nil {
		return nil, doc.Errorf("", "not a Kubernetes object: %w", err)
	}
	if head.APIVersion != servingv1.SchemeGroupVersion.String() || head.Kind != "Service" {
		gv, _ := schema.ParseGroupVersion(head.APIVersion) // the text as it stands, if it is none
		return nil, doc.Errorf("", "kind %s of %s: only kind Service of %s is deployed; leave it out and apply it with kubectl",
			cmp.Or(head.Kind, "(none)"), cmp.Or(gv.String(), head.APIVersion, "(none)"), servingv1.SchemeGroupVersion)
	}
	svc := &servingv1.Service{}
	return svc, doc.Decode(svc)
}
