package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// diagnose finds everything in a JSON text that does not have the form of a
// Job: unknown fields, keys that appear twice, values of a wrong type. It
// returns the Job that remains without those values, so that the other rules
// can be checked all the same; nil if nothing remains. cause is what the
// decoder said, nil if it was not asked.
func (c *compiler) diagnose(text []byte, cause error) *batchv1.Job {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	tree, err := parse(decoder)
	if err != nil {
		c.addShape(root, "is not valid JSON: %s", err)
		return nil
	}
	s := shaper{compiler: c, fields: map[reflect.Type]map[string]reflect.Type{}}
	clean, ok := s.value(tree, reflect.TypeFor[batchv1.Job](), root)
	if !ok {
		return nil
	}
	rest, err := json.Marshal(clean)
	if err != nil {
		panic("manifest: a decoded tree that JSON cannot hold: " + err.Error())
	}
	var j batchv1.Job
	if strict, err := kjson.UnmarshalStrict(rest, &j); err != nil || len(strict) > 0 {
		c.addShape(root, "does not have the form of a Job: %v", firstError(err, strict))
		return nil
	}
	if len(c.shape) == 0 && cause != nil {
		c.addShape(root, "does not have the form of a Job: %v", cause)
	}
	return &j
}

func firstError(err error, others []error) error {
	if err == nil && len(others) > 0 {
		return others[0]
	}
	return err
}

// object is a JSON object with its members as they came, so that a key may
// appear twice. The other JSON values are []any, string, json.Number, bool
// and nil.
type object []member

type member struct {
	key   string
	value any
}

// parse reads one value. The text is known to be valid and not nested deeply.
func parse(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		out := object{}
		for decoder.More() {
			token, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			key, _ := token.(string) // the decoder refuses any other
			value, err := parse(decoder)
			if err != nil {
				return nil, err
			}
			out = append(out, member{key, value})
		}
		_, err = decoder.Token()
		return out, err
	case json.Delim('['):
		out := []any{}
		for decoder.More() {
			value, err := parse(decoder)
			if err != nil {
				return nil, err
			}
			out = append(out, value)
		}
		_, err = decoder.Token()
		return out, err
	}
	return token, nil
}

// shaper compares a tree with a Go type.
type shaper struct {
	*compiler
	fields map[reflect.Type]map[string]reflect.Type
}

// value returns the tree as json.Marshal takes it, without what does not fit
// the type; ok is false if nothing of it fits.
func (s *shaper) value(tree any, want reflect.Type, at *field.Path) (clean any, ok bool) {
	for want.Kind() == reflect.Pointer {
		want = want.Elem()
	}
	if tree == nil {
		return nil, true
	}
	if reflect.PointerTo(want).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return s.special(tree, want, at)
	}
	switch want.Kind() {
	case reflect.Struct:
		return s.structure(tree, want, at)
	case reflect.Map:
		return s.mapping(tree, want, at)
	case reflect.Slice:
		return s.list(tree, want, at)
	}
	return s.scalar(tree, want, at)
}

func (s *shaper) structure(tree any, want reflect.Type, at *field.Path) (any, bool) {
	members, ok := tree.(object)
	if !ok {
		return nil, s.mismatch(at, "an object", tree)
	}
	known, ok := s.fields[want]
	if !ok {
		known = map[string]reflect.Type{}
		collectFields(want, known)
		s.fields[want] = known
	}
	return s.members(members, at.Child, func(key string, path *field.Path) reflect.Type {
		child, ok := known[key]
		if !ok {
			s.unknown(path, key, known)
		}
		return child
	})
}

func (s *shaper) unknown(at *field.Path, key string, known map[string]reflect.Type) {
	suggestion := ""
	if !s.full() { // a search for each of a hundred thousand would take long
		suggestion = didYouMean("", key, slices.Sorted(maps.Keys(known)))
	}
	s.addShape(at, "is not a field that Kubernetes knows%s", suggestion)
}

func (s *shaper) mapping(tree any, want reflect.Type, at *field.Path) (any, bool) {
	members, ok := tree.(object)
	if !ok {
		return nil, s.mismatch(at, "an object", tree)
	}
	return s.members(members, func(key string, _ ...string) *field.Path { return at.Key(key) },
		func(string, *field.Path) reflect.Type { return want.Elem() })
}

// members goes through an object; typeOf is nil for a key that has no place
// in it, of which typeOf itself has told.
func (s *shaper) members(members object, pathOf func(string, ...string) *field.Path, typeOf func(string, *field.Path) reflect.Type) (any, bool) {
	clean := make(map[string]any, len(members))
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		path := pathOf(m.key)
		if seen[m.key] {
			s.addShape(path, "is there twice")
			continue
		}
		seen[m.key] = true
		want := typeOf(m.key, path)
		if want == nil {
			continue
		}
		if value, ok := s.value(m.value, want, path); ok {
			clean[m.key] = value
		}
	}
	return clean, true
}

func (s *shaper) list(tree any, want reflect.Type, at *field.Path) (any, bool) {
	items, ok := tree.([]any)
	if !ok {
		return nil, s.mismatch(at, "a list", tree)
	}
	clean := make([]any, len(items))
	for i, item := range items {
		// What does not fit leaves a null, so that the others keep their index.
		clean[i], _ = s.value(item, want.Elem(), at.Index(i))
	}
	return clean, true
}

// special is for the types that decode themselves.
func (s *shaper) special(tree any, want reflect.Type, at *field.Path) (any, bool) {
	text, err := json.Marshal(plain(tree))
	if err != nil {
		panic("manifest: a decoded tree that JSON cannot hold: " + err.Error())
	}
	quantity := want == reflect.TypeFor[resource.Quantity]()
	if quantity && costlyNumber(text) {
		s.spoil(at, "%s is out of the range of Kubernetes quantities", abbreviated(string(text), maxQuoted))
		return nil, false
	}
	err = json.Unmarshal(text, reflect.New(want).Interface())
	switch {
	case err == nil:
		return plain(tree), true
	case quantity:
		s.spoil(at, "%s is not a Kubernetes quantity, such as 2, 500m or 1.5Gi", abbreviated(string(text), maxQuoted))
	default:
		s.spoil(at, "%s does not fit here: %s", abbreviated(string(text), maxQuoted), abbreviated(err.Error(), maxFaultField))
	}
	return nil, false
}

func (s *shaper) scalar(tree any, want reflect.Type, at *field.Path) (any, bool) {
	switch want.Kind() {
	case reflect.String:
		if text, ok := tree.(string); ok {
			return text, true
		}
		return nil, s.mismatch(at, "a string (put it in quotes)", tree)
	case reflect.Bool:
		if value, ok := tree.(bool); ok {
			return value, true
		}
		return nil, s.mismatch(at, "true or false", tree)
	}
	number, ok := tree.(json.Number)
	if !ok {
		return nil, s.mismatch(at, "a whole number", tree)
	}
	if _, err := strconv.ParseInt(number.String(), 10, want.Bits()); err != nil {
		return nil, s.mismatch(at, fmt.Sprintf("a whole number of at most %d bits", want.Bits()), tree)
	}
	return number, true
}

func (s *shaper) mismatch(at *field.Path, wanted string, tree any) bool {
	s.spoil(at, "must be %s, is %s", wanted, describe(tree))
	return false
}

// describe says what a JSON value is, with the value where it is short.
func describe(tree any) string {
	switch v := tree.(type) {
	case object:
		return "an object"
	case []any:
		return "a list"
	case string:
		return "the string " + quoted(v)
	case json.Number:
		return "the number " + abbreviated(v.String(), maxQuoted)
	case bool:
		return strconv.FormatBool(v)
	}
	return "null"
}

// plain turns a tree into what json.Marshal takes.
func plain(tree any) any {
	switch v := tree.(type) {
	case object:
		out := make(map[string]any, len(v))
		for _, m := range v {
			out[m.key] = plain(m.value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	}
	return tree
}

// collectFields lists the JSON names of a struct's fields with their types.
func collectFields(structure reflect.Type, into map[string]reflect.Type) {
	for f := range structure.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name != "":
			into[name] = f.Type
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			collectFields(f.Type, into)
		}
	}
}
