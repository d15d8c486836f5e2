// Package strictyaml reads YAML that people write: an unknown or repeated field and a value of the wrong type is an error
// with the file, the line and what was expected. Field names and types are those of encoding/json.
package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Document is one YAML document.
type Document struct {
	name string
	json []byte
	at   positions
}

// Parse reads one document. Its name, usually a path, stands before the line in errors.
func Parse(name string, text []byte) (*Document, error) {
	if line := secondDocument(text); line > 0 {
		return nil, fmt.Errorf("%s:%d: a second document begins: expected one", name, line)
	}
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if wrong := newPositions(text).notANumber(); err != nil && wrong != nil {
		return nil, fmt.Errorf("%s:%d: expected a number, not %s", name, wrong.Line, wrong.Value)
	}
	if err != nil {
		return nil, yamlError(name, err)
	}
	return &Document{name: name, json: asJSON, at: newPositions(text)}, nil
}

// Empty says whether there is nothing in the document.
func (d *Document) Empty() bool { return string(d.json) == "null" }

// JSON is the document as JSON.
func (d *Document) JSON() []byte { return d.json }

// Errorf is an error at a field, given by its path, such as spec.containers[0].image, or at the deepest field on the way
// that is there. No path is the document's first line.
func (d *Document) Errorf(path, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", d.name, d.at.line(path), fmt.Errorf(format, args...))
}

// Decode fills into with the document. All unknown fields are told at once; what is known is filled in nevertheless.
func (d *Document) Decode(into any) error {
	strict, err := kjson.UnmarshalStrict(d.json, into)
	if err != nil {
		path, what := d.typeError(err)
		return d.Errorf(path, "%s", what)
	}
	var problems []error
	for _, unknown := range strict {
		path := fieldPath(unknown)
		if known := fieldsBeside(reflect.TypeOf(into), path); len(known) > 0 {
			unknown = fmt.Errorf("%w: expected one of %s", unknown, strings.Join(known, ", "))
		}
		problems = append(problems, d.Errorf(path, "%w", unknown))
	}
	return errors.Join(problems...)
}

// fieldPath returns the path in a strict error such as: unknown field "spec.template.spec.containers[0].imgae".
func fieldPath(err error) string {
	var field kjson.FieldError
	if !errors.As(err, &field) {
		return ""
	}
	return field.FieldPath()
}

// typeError says where a value has the wrong type, and what was expected.
func (d *Document) typeError(err error) (path, what string) {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return "", err.Error()
	}
	path, _ = pathAt(json.NewDecoder(bytes.NewReader(d.json)), "", wrong.Offset)
	what = fmt.Sprintf("expected %s, not %s", typeName(wrong.Type), valueName(wrong.Value))
	if path == "" {
		return path, what
	}
	return path, path + ": " + what
}

// pathAt is the path of the value that ends at an offset, or that begins there if it is an object or a list.
func pathAt(dec *json.Decoder, path string, offset int64) (at string, found bool) {
	token, err := dec.Token()
	if err != nil || dec.InputOffset() >= offset {
		return path, err == nil
	}
	delim, _ := token.(json.Delim)
	for i := 0; (delim == '{' || delim == '[') && dec.More(); i++ {
		inner := fmt.Sprintf("%s[%d]", path, i)
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return path, false
			}
			inner = strings.TrimPrefix(fmt.Sprintf("%s.%v", path, key), ".")
		}
		if at, found := pathAt(dec, inner, offset); found {
			return at, true
		}
	}
	if delim != 0 {
		_, err = dec.Token() // its end
	}
	return path, err == nil && dec.InputOffset() >= offset
}

// yamlError turns the YAML library's "yaml: line N: what" into "name:N: what".
func yamlError(name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	text = strings.TrimPrefix(text, "yaml: ")
	text = strings.TrimSpace(strings.TrimPrefix(text, "unmarshal errors:"))
	if line, what, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok && isNumber(line) {
		return fmt.Errorf("%s:%s: %s", name, line, what)
	}
	return fmt.Errorf("%s: %s", name, text)
}

func isNumber(s string) bool {
	return s != "" && !slices.ContainsFunc([]rune(s), func(r rune) bool { return r < '0' || r > '9' })
}
