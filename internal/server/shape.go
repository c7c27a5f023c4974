package server

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// kind is what a JSON value should be; its text ends the sentence of a fault.
type kind string

// The kinds of values.
const (
	kindAny    kind = "any value"
	kindStruct kind = "an object"
	kindMap    kind = "an object with any names"
	kindList   kind = "a list"
	kindText   kind = "a string"
	kindWhole  kind = "a whole number"
	kindNumber kind = "a number"
	kindBool   kind = "true or false"
	kindMoment kind = "a time"
)

// shape is what the type of a request's body allows, by the same struct tags
// that the OpenAPI document is made from.
type shape struct {
	kind     kind
	nullable bool
	fields   map[string]*shape
	required []string
	element  *shape
	enum     []string
	// each is called with every element's text.
	each func(text []byte)
}

var anyShape = &shape{kind: kindAny}

// shapeOf returns the shape of T, which must not be recursive.
func shapeOf[T any]() *shape { return shapeOfType(reflect.TypeFor[T]()) }

func shapeOfType(t reflect.Type) *shape {
	switch t {
	case reflect.TypeFor[json.RawMessage]():
		return anyShape
	case reflect.TypeFor[time.Time]():
		return &shape{kind: kindMoment}
	}
	switch t.Kind() {
	case reflect.Pointer:
		of := *shapeOfType(t.Elem())
		of.nullable = true
		return &of
	case reflect.Struct:
		of := &shape{kind: kindStruct, fields: map[string]*shape{}}
		of.addFields(t)
		return of
	case reflect.Map:
		return &shape{kind: kindMap, nullable: true, element: shapeOfType(t.Elem())}
	case reflect.Slice:
		return &shape{kind: kindList, nullable: true, element: shapeOfType(t.Elem())}
	case reflect.String:
		return &shape{kind: kindText}
	case reflect.Bool:
		return &shape{kind: kindBool}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return &shape{kind: kindWhole}
	case reflect.Float64:
		return &shape{kind: kindNumber}
	default:
		panic("server: no shape for a body with " + t.String())
	}
}

func (of *shape) addFields(t reflect.Type) {
	for field := range t.Fields() {
		tag := field.Tag.Get("json")
		if field.Anonymous && tag == "" {
			of.addFields(field.Type)
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			panic("server: no JSON name for " + t.String() + "." + field.Name)
		}
		member := *shapeOfType(field.Type)
		if enum := field.Tag.Get("enum"); enum != "" {
			member.enum = strings.Split(enum, ",")
		}
		of.fields[name] = &member
		if !strings.Contains(options, "omit") {
			of.required = append(of.required, name)
		}
	}
}

func (of *shape) withoutRequired() *shape {
	of.required = nil
	return of
}

// nearest hints at the field that was probably meant.
func (of *shape) nearest(name string) string {
	for _, known := range slices.Sorted(maps.Keys(of.fields)) {
		if strings.EqualFold(known, name) || oneEdit(known, name) {
			return "; did you mean " + known + "?"
		}
	}
	return ""
}

// oneEdit tells whether one edit (a letter more, less, other, or two swapped)
// turns a into b.
func oneEdit(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || len(a) < 3 {
		return false
	}
	start := 0
	for start < len(a) && a[start] == b[start] {
		start++
	}
	if len(a) < len(b) {
		return a[start:] == b[start+1:]
	}
	if start+1 >= len(a) || a[start+1:] == b[start+1:] {
		return true
	}
	swapped := slices.Clone([]byte(a))
	swapped[start], swapped[start+1] = swapped[start+1], swapped[start]
	return string(swapped) == b
}
