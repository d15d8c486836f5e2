package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Object is one Kubernetes object of a manifest.
type Object = unstructured.Unstructured

// parse reads a stream of YAML documents.
func parse(data []byte) ([]*Object, error) {
	var all []*Object
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		o := &Object{}
		err := documents.Decode(o)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetKind() == "" || o.GetName() == "" {
			return nil, fmt.Errorf("a document has no kind or no name: %v", o.Object)
		}
		all = append(all, o)
	}
}

// stage is when an object can be applied.
type stage int

const (
	stageDefinitions stage = iota // CustomResourceDefinitions, which have to be established before the rest
	stageNamespaces
	stageRest
	stageCustom // objects of those definitions, which webhooks check that have to run
	stages
)

// stageOf sorts an object; custom are the API groups that the manifests define themselves.
func stageOf(o *Object, custom map[string]bool) stage {
	switch {
	case o.GetKind() == "CustomResourceDefinition":
		return stageDefinitions
	case o.GetKind() == "Namespace":
		return stageNamespaces
	case custom[o.GroupVersionKind().Group]:
		return stageCustom
	}
	return stageRest
}

// customGroups are the API groups of the definitions.
func customGroups(objects []*Object) map[string]bool {
	groups := map[string]bool{}
	for _, o := range objects {
		if group, ok, _ := unstructured.NestedString(o.Object, "spec", "group"); ok && o.GetKind() == "CustomResourceDefinition" {
			groups[group] = true
		}
	}
	return groups
}

// label is how an object is named to people.
func label(o *Object) string {
	name := strings.ToLower(o.GetKind()) + "/" + o.GetName()
	if ns := o.GetNamespace(); ns != "" {
		return ns + " " + name
	}
	return name
}
