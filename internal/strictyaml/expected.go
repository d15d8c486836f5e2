package strictyaml

import (
	"encoding"
	"reflect"
	"strings"
)

// Expected is a type that says what its values are, such as: a time such as 30s.
type Expected interface{ Expected() string }

// typeName is what a type is called in an error.
func typeName(t reflect.Type) string {
	if e, ok := reflect.Zero(t).Interface().(Expected); ok {
		return e.Expected()
	}
	if t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return t.String()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Struct, reflect.Map:
		return "fields with values"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return t.String()
}

// valueName is what encoding/json's name for a value is called in an error.
func valueName(value string) string {
	switch value {
	case "object":
		return "fields with values"
	case "array":
		return "a list"
	case "string":
		return "text"
	case "bool":
		return "true or false"
	case "number":
		return "a number"
	}
	return strings.TrimPrefix(value, "number ")
}

// most is how many fields are worth a list.
const most = 16

// fieldsBeside are the names of the fields that there are in the place of the one at a path; none if they are many.
func fieldsBeside(t reflect.Type, path string) []string {
	names := strings.Split(strings.ReplaceAll(path, "[", ".["), ".")
	for _, name := range names[:len(names)-1] {
		if t = inside(t, name); t == nil {
			return nil
		}
	}
	all := fields(t)
	if len(all) > most {
		return nil
	}
	var list []string
	for _, f := range all {
		list = append(list, f.name)
	}
	return list
}

// inside is the type of what is in a value, by a field's name or, for an element, [N]; nil if there is no such thing.
func inside(t reflect.Type, name string) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return t.Elem()
	}
	for _, f := range fields(t) {
		if f.name == name {
			return f.of
		}
	}
	return nil
}

type field struct {
	name string
	of   reflect.Type
}

// fields are those of a struct as encoding/json sees them, with those of the structs that it embeds without a name.
func fields(t reflect.Type) []field {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var all []field
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case name == "" && f.Anonymous:
			all = append(all, fields(f.Type)...)
		case name == "":
			all = append(all, field{f.Name, f.Type})
		default:
			all = append(all, field{name, f.Type})
		}
	}
	return all
}
