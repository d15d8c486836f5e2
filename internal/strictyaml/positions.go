package strictyaml

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// positions finds the lines of fields in a YAML document.
type positions struct{ root *yaml.Node }

func newPositions(doc []byte) positions {
	var node yaml.Node
	if err := yaml.Unmarshal(doc, &node); err != nil || len(node.Content) == 0 {
		return positions{root: &yaml.Node{Line: 1}} // the strict reader has told what is wrong
	}
	return positions{root: node.Content[0]}
}

// notANumber is the first value that is a number in YAML and none in JSON; nil if there is none.
func (p positions) notANumber() *yaml.Node {
	var find func(*yaml.Node) *yaml.Node
	find = func(node *yaml.Node) *yaml.Node {
		var f float64
		if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!float" && node.Decode(&f) == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return node
		}
		for _, inner := range node.Content {
			if found := find(inner); found != nil {
				return found
			}
		}
		return nil
	}
	return find(p.root)
}

// secondDocument is the line where a second document begins that is not empty; 0 if there is none.
func secondDocument(text []byte) int {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var node yaml.Node
	if dec.Decode(&node) != nil {
		return 0
	}
	for dec.Decode(&node) == nil {
		if len(node.Content) > 0 && node.Content[0].ShortTag() != "!!null" {
			return node.Content[0].Line
		}
	}
	return 0
}

// line is the line of a field by its path, such as spec.containers[0].image, or of the deepest field on the way that is
// there.
func (p positions) line(path string) int {
	node, line := p.root, p.root.Line
	for name := range strings.SplitSeq(strings.ReplaceAll(path, "[", ".["), ".") {
		if name == "" {
			continue
		}
		var next *yaml.Node
		next, line = child(node, name, line)
		if next == nil {
			return line
		}
		node = next
	}
	return line
}

// child is a mapping's or sequence's element and the line where it begins.
func child(node *yaml.Node, name string, line int) (*yaml.Node, int) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.SequenceNode && name[0] == '[' {
		if i, err := strconv.Atoi(name[1 : len(name)-1]); err == nil && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
		return nil, line
	}
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1], node.Content[i].Line
		}
	}
	return nil, line
}
