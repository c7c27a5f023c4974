package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

const referenceFile = "../../docs/configuration.md"

//go:generate go test . -run ^(TestReferenceIsCurrent|TestSchemaFileIsCurrent)$ -update

func TestReferenceIsCurrent(t *testing.T) {
	want := reference()
	if *update {
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("%s is not what the types say; run: go test ./internal/config -run Reference -update", referenceFile)
	}
}

// reference is the whole of docs/configuration.md.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by go generate ./internal/config from the types of the configuration; a test compares. -->

One file, ` + "`gco.yaml`" + `, configures ` + "`gco up`, `gco server`, `gco agent`" + ` (` + "`--config gco.yaml`" + `) and the AWS layer. Every
key has a default, so an empty file is a valid one, and none is needed. Flags go before the file.

- ` + "[`examples/gco.yaml`](../examples/gco.yaml)" + ` is one to begin with.
- ` + "`gco config validate gco.yaml`" + ` names every fault at once, each with its path and line. A key that is
  not known is a fault.
- ` + "`gco config show gco.yaml`" + ` lists the whole configuration that a file stands for, and where each value comes from.
- [gco.schema.json](gco.schema.json) teaches the file to an editor: begin it with
  ` + "`# yaml-language-server: $schema=PATH`" + `.

Durations are written as ` + "`90s`, `5m` or `1h30m`" + `, amounts of resources as in Kubernetes: ` + "`500m`, `8`, `32Gi`" + `. Lists
and maps replace their default whole. A section with nothing in it keeps its defaults; a list or a value with
nothing after its key is a fault. The server reads the file when it starts; certificates alone are
read again when they change.

` + "`project`" + ` and ` + "`aws`" + ` are on a page of their own: [settings of the AWS layer](aws-config.md).
`)
	root := reflect.ValueOf(Default())
	for i := range root.NumField() {
		field := root.Type().Field(i)
		if name := fieldName(field); name != "project" && name != "aws" {
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | default | |\n|---|---|---|\n", name, field.Tag.Get("doc"))
			keys(&b, name, root.Field(i))
		}
	}
	return b.String()
}

// keys writes a row for each key below value.
func keys(b *strings.Builder, path string, value reflect.Value) {
	switch value.Kind() {
	case reflect.Map:
		if value.Type().Elem().Kind() == reflect.Struct {
			keys(b, path+".NAME", entry(value.Type().Elem()))
		}
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Type().Field(i)
			at := path + "." + fieldName(field)
			fmt.Fprintf(b, "| `%s` | %s | %s%s |\n", at, shownDefault(value.Field(i)), field.Tag.Get("doc"), bounds(field.Tag))
			element := value.Field(i)
			if element.Kind() == reflect.Slice {
				element, at = entry(element.Type().Elem()), at+"[]"
			}
			keys(b, at, element)
		}
	}
}

func shownDefault(value reflect.Value) string {
	switch value.Kind() {
	case reflect.Struct, reflect.Pointer:
		return ""
	case reflect.Map, reflect.Slice:
		if value.Len() == 0 {
			return ""
		}
		text := strings.ReplaceAll(fmt.Sprint(valueOf(value)), " ", ", ")
		if entries, isMap := strings.CutPrefix(text, "map["); isMap {
			text = "{" + strings.ReplaceAll(strings.TrimSuffix(entries, "]"), ":", ": ") + "}"
		}
		return "`" + text + "`"
	}
	if value.Type() == durationType {
		return "`" + shortDuration(time.Duration(value.Int())) + "`"
	}
	if value.Kind() == reflect.String && value.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("`%v`", value)
}

// shortDuration leaves out the zero units at the end of a duration.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// bounds says in words what a key's tags demand.
func bounds(tag reflect.StructTag) string {
	if allowed := enumOf(tag); allowed != nil {
		return " One of `" + strings.Join(allowed, "`, `") + "`."
	}
	low, high := tag.Get("minimum"), tag.Get("maximum")
	switch {
	case low != "" && high != "":
		return fmt.Sprintf(" From %s to %s.", low, high)
	case low != "":
		return fmt.Sprintf(" At least %s.", low)
	default:
		return ""
	}
}
