package node

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"weir.dev/weir/kind/install"
)

// Base is the part that every node needs before any other.
const Base install.Part = "node"

//go:embed manifests
var ownManifests embed.FS

// Manifests are the parts' manifests as the programs' folder of a node has them, and what the node needs changed.
type Manifests struct {
	dir     string
	info    Info
	digests map[string]string // of an image, by its name
}

// OpenManifests reads what was built for the node.
func OpenManifests(info Info) (*Manifests, error) {
	m := &Manifests{dir: info.Programs, info: info}
	data, err := os.ReadFile(filepath.Join(info.Programs, "images.json"))
	if err != nil {
		return nil, err
	}
	return m, json.Unmarshal(data, &m.digests)
}

// Source gives the manifest of a part.
func (m *Manifests) Source(_ context.Context, part install.Part) ([]byte, error) {
	if part == Base || part == install.MetricsServer {
		return ownManifests.ReadFile("manifests/" + string(part) + ".yaml")
	}
	return os.ReadFile(filepath.Join(m.dir, "manifests", string(part)+".yaml"))
}

// Image is the name under which the node's registry has one of the node's images.
func (m *Manifests) Image(name string) string {
	return fmt.Sprintf("%s/%s@%s", m.info.Registry, name, m.digests[name])
}

// Edit makes an object fit the node. It returns false for what a single node has no use for: Deployments whose images
// were not built, because weir uses none of them, and HorizontalPodAutoscalers of the cluster's own components.
func (m *Manifests) Edit(o *install.Object) bool {
	m.images(o.Object)
	switch o.GetKind() {
	case "HorizontalPodAutoscaler", "PodDisruptionBudget":
		return false
	case "Service":
		if o.GetName() == "kourier" {
			set(o, "ClusterIP", "spec", "type")
			set(o, m.info.IngressIP, "spec", "clusterIP")
		}
	case "Deployment", "StatefulSet":
		return m.workload(o)
	}
	return true
}

// images replaces the names of images by those in the node's registry, wherever they are.
func (m *Manifests) images(value map[string]any) {
	for k, v := range value {
		switch v := v.(type) {
		case string:
			name, ok := strings.CutPrefix(v, "ko://")
			if k == "image" && strings.HasPrefix(v, envoyImage+":") {
				name, ok = envoyImage, true
			}
			if _, built := m.digests[name]; ok && built {
				value[k] = m.Image(name)
			}
		case map[string]any:
			m.images(v)
		case []any:
			for _, item := range v {
				if item, ok := item.(map[string]any); ok {
					m.images(item)
				}
			}
		}
	}
}

// workload asks for little of the one node's processors, looks often whether a pod is ready, and drains Envoy without
// a shell, which its image does not have.
func (m *Manifests) workload(o *install.Object) bool {
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		c, ok := c.(map[string]any)
		if !ok {
			return false
		}
		if image, _ := c["image"].(string); !strings.HasPrefix(image, m.info.Registry+"/") {
			return false
		}
		unstructured.RemoveNestedField(c, "resources", "requests", "cpu")
		unstructured.RemoveNestedField(c, "resources", "limits", "cpu")
		if probe, ok := c["readinessProbe"].(map[string]any); ok {
			delete(probe, "initialDelaySeconds")
			probe["periodSeconds"] = int64(1)
		}
		if _, ok := c["lifecycle"]; ok {
			c["lifecycle"] = map[string]any{"preStop": map[string]any{"sleep": map[string]any{"seconds": int64(1)}}}
		}
	}
	return unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers") == nil
}

func set(o *install.Object, value any, fields ...string) {
	// The only error is a parent that is no map, and the API server says so better.
	_ = unstructured.SetNestedField(o.Object, value, fields...)
}
