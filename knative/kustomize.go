package knative

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Kustomize reads the Services that a kustomization, a folder with a kustomization.yaml, makes, as `kubectl apply -k`
// does. It sets AnnotationLocalDir of every template to the absolute folder of the file that the Service began as. All
// problems are reported at once.
func Kustomize(dir string) ([]*servingv1.Service, error) {
	// A kustomization around it asks for the origins of its objects, which it may not do itself.
	top, err := os.MkdirTemp("", "weir-kustomize-")
	if err != nil {
		return nil, err
	}
	made, err := renderFrom(top, dir)
	if err := errors.Join(err, os.RemoveAll(top)); err != nil {
		return nil, fmt.Errorf("kustomization %s: %w", dir, err)
	}
	var all []*servingv1.Service
	var problems []error
	for _, res := range made.Resources() {
		origin, err := res.GetOrigin()
		if err != nil {
			return nil, err
		}
		if err := res.SetOrigin(nil); err != nil {
			return nil, err
		}
		text, err := res.AsYAML()
		if err != nil {
			return nil, err
		}
		services, err := Parse(fmt.Sprintf("%s: %s %s", dir, res.GetKind(), res.GetName()), text)
		if err != nil {
			problems = append(problems, err)
		}
		for _, svc := range services {
			setLocalDir(svc, filepath.Dir(filepath.Join(top, origin.Path)))
		}
		all = append(all, services...)
	}
	return all, errors.Join(problems...)
}

// renderFrom runs kustomize on a new kustomization in top that stands on the one in dir.
func renderFrom(top, dir string) (resmap.ResMap, error) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	if top, err = filepath.EvalSymlinks(top); err != nil {
		return nil, err
	}
	base, err := filepath.Rel(top, real)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("resources: [%q]\nbuildMetadata: [%s]\n", base, types.OriginAnnotations)
	if err := os.WriteFile(filepath.Join(top, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), top)
}
