package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
)

// Sources tell where the values of a configuration came from, by path: a line
// of the file, or an overlay. What is not in it is a default.
type Sources map[string]string

// Setting is one value of a configuration.
type Setting struct {
	Path  string `json:"path"`
	Value any    `json:"value"`
	// From is "default", FILE:LINE, or what the overlay is called.
	From string `json:"from"`
}

// sourcesOf keeps the places of a tree's values, with the file's name.
func (t *tree) sourcesOf(name string) Sources {
	sources := Sources{}
	for path, node := range t.nodes {
		from := t.source[node]
		if from == "" && node.Line > 0 {
			from = fmt.Sprintf("%s:%d", name, node.Line)
		}
		if from != "" {
			sources[path] = from
		}
	}
	return sources
}

// Settings lists every value with where it came from, in the order of the
// file's sections. Lists of scalars are one value.
func (c Config) Settings(sources Sources) []Setting {
	var settings []Setting
	walkSettings(reflect.ValueOf(c), "", func(path string, value any) {
		settings = append(settings, Setting{Path: path, Value: value, From: cmp.Or(sources[path], "default")})
	})
	return settings
}

func walkSettings(value reflect.Value, path string, visit func(path string, value any)) {
	switch value.Kind() {
	case reflect.Struct:
		for i := range value.NumField() {
			walkSettings(value.Field(i), joinPath(path, fieldName(value.Type().Field(i))), visit)
		}
	case reflect.Map:
		keys := value.MapKeys()
		if len(keys) == 0 {
			visit(path, nil)
		}
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, key := range keys {
			walkSettings(value.MapIndex(key), joinPath(path, key.String()), visit)
		}
	case reflect.Slice:
		if value.Len() == 0 || value.Type().Elem().Kind() != reflect.Struct {
			visit(path, valueOf(value))
			return
		}
		for i := range value.Len() {
			walkSettings(value.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	default:
		visit(path, valueOf(value))
	}
}
