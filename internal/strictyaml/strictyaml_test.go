package strictyaml

import (
	"strings"
	"testing"
)

type embedded struct {
	Inner string `json:"inner"`
}

type wait string

func (wait) Expected() string { return "a time such as 30s" }

func TestErrorsHaveTheLine(t *testing.T) {
	t.Parallel()
	type shape struct {
		Name string `json:"name"`
		embedded
		Wait  wait `json:"wait"`
		Items []struct {
			Size int               `json:"size"`
			Tags map[string]string `json:"tags"`
		} `json:"items"`
	}
	for _, tt := range []struct{ name, text, want string }{
		{"good", "name: a\nitems:\n  - {size: 1, tags: {a: b}}\n", ""},
		{"not YAML", "name: a\nitems: [\n", "f.yaml:"},
		{"repeated", "name: a\nname: b\n", `f.yaml:2: key "name" already set in map`},
		{"unknown", "name: a\nitems:\n  - size: 1\n  - size: 2\n    seize: 3\n", `f.yaml:5: unknown field "items[1].seize": expected one of size, tags`},
		{"unknown, of all", "title: a\n", `f.yaml:1: unknown field "title": expected one of name, inner, wait, items`},
		{"wrong scalar", "name: a\nitems:\n  - size: 1\n  - tags: {}\n    size: many\n", "f.yaml:5: items[1].size: expected a whole number, not text"},
		{"list for a text", "items: []\nname: [a]\n", "f.yaml:2: name: expected text, not a list"},
		{"text for a list", "name: a\nitems: b\n", "f.yaml:2: items: expected a list, not text"},
		{"object for a number", "items:\n  - tags: {a: b}\n    size: {a: 1}\n", "f.yaml:3: items[0].size: expected a whole number, not fields with values"},
		{"number in a map of texts", "items:\n  - tags:\n      a: b\n      c: 4\n", "f.yaml:4: items[0].tags.c: expected text, not a number"},
		{"half of a whole number", "items:\n  - size: 1.5\n", "f.yaml:2: items[0].size: expected a whole number, not 1.5"},
		{"a list for all", "- a\n", "f.yaml:1: expected fields with values, not a list"},
		{"what a type says", "wait: 30\n", "f.yaml:1: wait: expected a time such as 30s, not a number"},
		{"no number of JSON", "items:\n  - size: 1\n  - size: .nan\n", "f.yaml:3: expected a number, not .nan"},
		{"a second document", "name: a\n---\n# more\nname: b\n", "f.yaml:4: a second document begins: expected one"},
		{"an empty second document", "name: a\n---\n", ""},
		{"an embedded field", "inner: a\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			doc, err := Parse("f.yaml", []byte(tt.text))
			if err == nil {
				err = doc.Decode(&shape{})
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
