package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// defaulter is what the type of a list's or a map's entries implements when
// their zero value is not the right default. [Default] can't do it: the entries
// exist only once the file is read.
type defaulter interface{ setDefaults() }

func setDefaults(entry reflect.Value) {
	if d, ok := reflect.TypeAssert[defaulter](entry.Addr()); ok {
		d.setDefaults()
	}
}

// decoder carries a tree's nodes into Go values and gathers every fault on the
// way. A value at fault leaves its target as it was.
type decoder struct {
	tree   *tree
	faults []Fault
}

// decodeInto decodes the tree over what target points to, whose present values
// are the defaults.
func (t *tree) decodeInto(target any) []Fault {
	d := &decoder{tree: t}
	d.value(t.root, reflect.ValueOf(target).Elem(), "", 0)
	return d.faults
}

func (d *decoder) fault(node *yaml.Node, path, format string, args ...any) {
	fault := faultf(path, format, args...)
	fault.Where = d.tree.place(node)
	d.faults = append(d.faults, fault)
}

func (d *decoder) value(node *yaml.Node, target reflect.Value, path string, depth int) {
	d.tree.nodes[path] = node
	switch {
	case depth > maxDepth:
		d.fault(node, path, "nested more than %d deep", maxDepth)
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		d.fault(node, path, "anchors and aliases are not supported: write the value out")
	case isNull(node):
		d.null(node, target, path)
	case reflect.PointerTo(target.Type()).Implements(textType):
		d.text(node, target, path)
	case target.Type() == durationType:
		d.duration(node, target, path)
	default:
		d.kind(node, target, path, depth)
	}
}

// null takes a key with nothing after it. In front of a section or a map that is
// what lines that are all commented out leave, and the default stands. A list or
// a single value must say what it is: nothing could mean none or the default, and
// the default may be a Region that nobody asked for. A pointer can hold none.
func (d *decoder) null(node *yaml.Node, target reflect.Value, path string) {
	var want string
	switch kind := target.Kind(); {
	case target.Type() == durationType:
		want = "a duration such as 90s or 5m"
	case reflect.PointerTo(target.Type()).Implements(textType):
		want = "text"
	case slices.Contains([]reflect.Kind{reflect.Struct, reflect.Map, reflect.Pointer}, kind):
		return
	case kind == reflect.Slice:
		want = "a list"
	default:
		want = wanted(kind)
	}
	d.fault(node, path, "%s expected, found nothing; leave the key out for its default", want)
}

func (d *decoder) kind(node *yaml.Node, target reflect.Value, path string, depth int) {
	switch target.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(target.Type().Elem())
		setDefaults(fresh.Elem())
		if !target.IsNil() {
			fresh.Elem().Set(target.Elem())
		}
		d.value(node, fresh.Elem(), path, depth+1)
		target.Set(fresh)
	case reflect.Struct:
		d.structure(node, target, path, depth)
	case reflect.Map:
		d.mapping(node, target, path, depth)
	case reflect.Slice:
		d.list(node, target, path, depth)
	default:
		d.scalar(node, target, path)
	}
}

func (d *decoder) structure(node *yaml.Node, target reflect.Value, path string, depth int) {
	if !d.wantKind(node, yaml.MappingNode, path, "a mapping") {
		return
	}
	d.eachKey(node, path, func(key, value *yaml.Node, at string) {
		index, known := fieldIndex(target.Type(), key.Value)
		if !known {
			d.fault(key, at, "unknown key%s", suggestion(key.Value, fieldNames(target.Type())))
			return
		}
		d.value(value, target.Field(index), at, depth+1)
	})
}

func (d *decoder) mapping(node *yaml.Node, target reflect.Value, path string, depth int) {
	if !d.wantKind(node, yaml.MappingNode, path, "a mapping") {
		return
	}
	made := reflect.MakeMap(target.Type())
	d.eachKey(node, path, func(key, value *yaml.Node, at string) {
		item := reflect.New(target.Type().Elem()).Elem()
		setDefaults(item)
		d.value(value, item, at, depth+1)
		made.SetMapIndex(reflect.ValueOf(key.Value).Convert(target.Type().Key()), item)
	})
	target.Set(made)
}

// eachKey visits the keys of a mapping and reports those that are no plain
// string or appear twice.
func (d *decoder) eachKey(node *yaml.Node, path string, visit func(key, value *yaml.Node, at string)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.fault(key, path, "keys are plain strings, found %s", describe(key))
			continue
		}
		at := joinPath(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			d.fault(key, at, "key appears twice, first on line %d", line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, node.Content[i+1], at)
	}
}

func (d *decoder) list(node *yaml.Node, target reflect.Value, path string, depth int) {
	node = d.tree.split(node)
	if !d.wantKind(node, yaml.SequenceNode, path, "a list") {
		return
	}
	made := reflect.MakeSlice(target.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		setDefaults(made.Index(i))
		d.value(item, made.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
	}
	target.Set(made)
}

func (d *decoder) text(node *yaml.Node, target reflect.Value, path string) {
	if !d.wantKind(node, yaml.ScalarNode, path, "text") {
		return
	}
	fresh := reflect.New(target.Type())
	unmarshaler, ok := reflect.TypeAssert[encoding.TextUnmarshaler](fresh)
	if !ok {
		panic(fmt.Sprintf("config: %s is no text", target.Type())) // value has asked
	}
	if err := unmarshaler.UnmarshalText([]byte(node.Value)); err != nil {
		d.fault(node, path, "%v", err)
		return
	}
	target.Set(fresh.Elem())
}

func (d *decoder) duration(node *yaml.Node, target reflect.Value, path string) {
	duration, err := time.ParseDuration(node.Value)
	if node.Kind != yaml.ScalarNode || err != nil {
		d.fault(node, path, "a duration such as 90s or 5m expected, found %s", describe(node))
		return
	}
	target.SetInt(int64(duration))
}

func (d *decoder) scalar(node *yaml.Node, target reflect.Value, path string) {
	want := wanted(target.Kind())
	if !d.wantKind(node, yaml.ScalarNode, path, want) {
		return
	}
	tag := node.ShortTag()
	var err error
	switch target.Kind() {
	case reflect.String:
		// A bare 123 or true where a name belongs is most likely a mistake.
		if err = mustTag(tag, "!!str", "!!timestamp"); err == nil {
			target.SetString(node.Value)
		}
	case reflect.Bool:
		var b bool
		if err = mustTag(tag, "!!bool"); err == nil {
			err = node.Decode(&b)
			target.SetBool(b)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		// A whole number out of JSON arrives as a float.
		if err = mustTag(tag, "!!int", "!!float"); err == nil {
			if n, err = strconv.ParseInt(node.Value, 10, target.Type().Bits()); err == nil {
				target.SetInt(n)
			}
		}
	case reflect.Float32, reflect.Float64:
		var f float64
		if err = mustTag(tag, "!!int", "!!float"); err == nil {
			if f, err = strconv.ParseFloat(node.Value, target.Type().Bits()); err == nil {
				target.SetFloat(f)
			}
		}
	default:
		panic(fmt.Sprintf("config: %s has a type that gco.yaml can't hold: %s", path, target.Type()))
	}
	if err != nil {
		d.fault(node, path, "%s expected, found %s", want, describe(node))
	}
}

func (d *decoder) wantKind(node *yaml.Node, kind yaml.Kind, path, want string) bool {
	if node.Kind == kind {
		return true
	}
	d.fault(node, path, "%s expected, found %s", want, describe(node))
	return false
}

func mustTag(tag string, allowed ...string) error {
	if slices.Contains(allowed, tag) {
		return nil
	}
	return fmt.Errorf("is %s", tag)
}

func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldName is the key of a struct field in the file.
func fieldName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

func fieldNames(structure reflect.Type) []string {
	var names []string
	for field := range structure.Fields() {
		names = append(names, fieldName(field))
	}
	return names
}

func fieldIndex(structure reflect.Type, name string) (int, bool) {
	index := slices.Index(fieldNames(structure), name)
	return index, index >= 0 && name != "" && name != "-"
}
