package strictyaml

import (
	"strings"
	"testing"
)

func TestErrorsHaveTheLine(t *testing.T) {
	t.Parallel()
	type shape struct {
		Name  string `json:"name"`
		Items []struct {
			Size int               `json:"size"`
			Tags map[string]string `json:"tags"`
		} `json:"items"`
	}
	for _, tt := range []struct{ name, text, want string }{
		{"good", "name: a\nitems:\n  - {size: 1, tags: {a: b}}\n", ""},
		{"not YAML", "name: a\nitems: [\n", "f.yaml:"},
		{"repeated", "name: a\nname: b\n", `f.yaml:2: key "name" already set in map`},
		{"unknown", "name: a\nitems:\n  - size: 1\n  - size: 2\n    seize: 3\n", `f.yaml:5: unknown field "items[1].seize"`},
		{"wrong scalar", "name: a\nitems:\n  - size: 1\n  - tags: {}\n    size: many\n", "f.yaml:5: items[1].size: want int, not string"},
		{"list for a text", "items: []\nname: [a]\n", "f.yaml:2: name: want string, not array"},
		{"text for a list", "name: a\nitems: b\n", "f.yaml:2: items: want []"},
		{"object for a number", "items:\n  - tags: {a: b}\n    size: {a: 1}\n", "f.yaml:3: items[0].size: want int, not object"},
		{"number in a map of texts", "items:\n  - tags:\n      a: b\n      c: 4\n", "f.yaml:4: items[0].tags.c: want string, not number"},
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
