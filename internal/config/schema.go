package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:generate go test . -run TestSchemaFileIsCurrent -update

// durationPattern matches what [time.ParseDuration] takes, for editors.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`

// Schema is the JSON Schema (draft 2020-12) of gco.yaml, generated from the
// types, their tags and [Default]. It is checked in as docs/gco.schema.json for
// editors; go test ./internal/config -update writes it anew. What the methods
// named validate check, for example that a load balancer is in its Region, is
// beyond it, but for the tag region: that lists the AWS Regions.
func Schema() []byte {
	root := schemaOf(reflect.ValueOf(Default()), "")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "gco.yaml"
	root["description"] = "Configuration of GCO, the Global Capacity Orchestrator. Defaults are those of aws.profile: production."
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		panic(fmt.Sprintf("config: encoding the schema: %v", err)) // it holds nothing that can't be
	}
	return b.Bytes()
}

// schemaOf describes a value whose present content is the default. tag is that
// of the field that holds it.
func schemaOf(value reflect.Value, tag reflect.StructTag) map[string]any {
	schema := map[string]any{}
	if doc := tag.Get("doc"); doc != "" {
		schema["description"] = doc
	}
	kind := value.Kind()
	switch {
	case value.Type() == durationType:
		schema["type"], schema["pattern"] = "string", durationPattern
		if !value.IsZero() {
			schema["default"] = time.Duration(value.Int()).String()
		}
	case value.Type() == quantityType:
		// A bare 8 is a number to an editor.
		schema["type"], schema["pattern"] = []string{"string", "number"}, quantity.String()
	case reflect.PointerTo(value.Type()).Implements(textType):
		schema["type"] = "string"
	case kind == reflect.Pointer:
		maps.Copy(schema, schemaOf(entry(value.Type().Elem()), tag))
	case kind == reflect.Struct:
		structSchema(schema, value)
	case kind == reflect.Map:
		schema["type"] = []string{"object", "null"}
		schema["additionalProperties"] = schemaOf(entry(value.Type().Elem()), "")
	case kind == reflect.Slice:
		schema["type"] = "array"
		schema["items"] = schemaOf(entry(value.Type().Elem()), "")
		if value.Len() > 0 {
			schema["default"] = value.Interface()
		}
	default:
		schema["type"] = jsonType(kind)
		if !value.IsZero() || kind == reflect.Bool {
			schema["default"] = value.Interface()
		}
	}
	constrain(schema, tag, kind)
	return schema
}

func structSchema(schema map[string]any, value reflect.Value) {
	properties := map[string]any{}
	for i := range value.NumField() {
		field := value.Type().Field(i)
		properties[fieldName(field)] = schemaOf(value.Field(i), field.Tag)
	}
	// A section whose lines are all commented out is null, and fine.
	schema["type"] = []string{"object", "null"}
	schema["properties"] = properties
	schema["additionalProperties"] = false
}

// entry is the default entry of a list or map.
func entry(t reflect.Type) reflect.Value {
	value := reflect.New(t).Elem()
	setDefaults(value)
	return value
}

// constrain carries the tags over that both the schema and checkTags know, and
// region, which the methods named validate check.
func constrain(schema map[string]any, tag reflect.StructTag, kind reflect.Kind) {
	if allowed := enumOf(tag); allowed != nil {
		values := make([]any, len(allowed))
		for i, text := range allowed {
			values[i] = text
			if kind != reflect.String {
				n, _ := strconv.ParseFloat(text, 64)
				values[i] = n
			}
		}
		schema["enum"] = values
	}
	for _, key := range []string{"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"} {
		// A duration's bounds are durations, which a schema can't compare.
		if text, ok := tag.Lookup(key); ok && !strings.ContainsAny(text, "hmsuµn") {
			n, _ := number(tag, key)
			schema[key] = n
		}
	}
	if region := tag.Get("region"); region != "" {
		allowed := schema
		if items, ok := schema["items"].(map[string]any); ok {
			allowed = items
		}
		allowed["enum"] = awsRegions
		if region == "optional" {
			allowed["enum"] = append([]string{""}, awsRegions...)
		}
	}
	if pattern := tag.Get("pattern"); pattern != "" {
		schema["pattern"] = pattern
	}
	if tag.Get("uniqueItems") == "true" {
		schema["uniqueItems"] = true
	}
}

func jsonType(kind reflect.Kind) string {
	switch {
	case kind == reflect.String:
		return "string"
	case kind == reflect.Bool:
		return "boolean"
	case slices.Contains([]reflect.Kind{reflect.Float32, reflect.Float64}, kind):
		return "number"
	default:
		return "integer"
	}
}
