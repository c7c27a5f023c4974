package manifest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gco-project/gco/internal/manifest"
)

const fieldsGolden = "testdata/fields.golden"

// Every field that Kubernetes knows in a Job is set by itself, and whether
// the default policy lets it through is written down. A field that a later
// version of Kubernetes adds shows as a difference: somebody has to decide
// about it before the list is written anew (go test -run Fields -update).
func TestFields(t *testing.T) {
	var got bytes.Buffer
	eachField(reflect.TypeFor[batchv1.Job](), nil, func(path []string, value any) {
		j := decoded(t)
		if !slices.Contains(path, "volumes") {
			podOf(t, j)["volumes"] = []any{tree{"name": "v"}}
		}
		set(t, j, "", path, value)
		out, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
		if len(faults) > 0 {
			fmt.Fprintf(&got, "%s: refused\n", strings.Join(path, "."))
			return
		}
		fmt.Fprintf(&got, "%s: accepted\n", strings.Join(path, "."))
		if found := forbidden(t, out.JSON); len(found) > 0 {
			t.Errorf("%s lets through %v", strings.Join(path, "."), found)
		}
	})
	if *update {
		if err := os.WriteFile(fieldsGolden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(fieldsGolden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("fields are\n%s", differing(got.String(), string(want)))
	}
}

// differing are the lines that only one of two texts has.
func differing(got, want string) string {
	in := map[string]int{}
	for line := range strings.Lines(got) {
		in["+"+line]++
	}
	for line := range strings.Lines(want) {
		if in["+"+line] > 0 {
			in["+"+line]--
		} else {
			in["-"+line]++
		}
	}
	var out strings.Builder
	for line, count := range in {
		out.WriteString(strings.Repeat(line, count))
	}
	return out.String()
}

// samples are values of types that decode themselves.
var samples = map[reflect.Type]any{
	reflect.TypeFor[resource.Quantity]():  "1",
	reflect.TypeFor[metav1.Time]():        "2026-01-01T00:00:00Z",
	reflect.TypeFor[metav1.MicroTime]():   "2026-01-01T00:00:00.000000Z",
	reflect.TypeFor[metav1.FieldsV1]():    map[string]any{},
	reflect.TypeFor[intstr.IntOrString](): 80,
}

// eachField visits the fields below a type that hold no other fields, with a
// value for each; "[]" in a path is the first item of a list.
func eachField(of reflect.Type, path []string, visit func([]string, any)) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if sample, special := samples[of]; special {
		visit(path, sample)
		return
	}
	switch of.Kind() {
	case reflect.Struct:
		if of.NumField() == 0 {
			visit(path, map[string]any{})
		}
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case name == "":
				eachField(f.Type, path, visit)
			case name != "status" && name != "ephemeralContainers":
				eachField(f.Type, append(slices.Clip(path), name), visit)
			}
		}
	case reflect.Slice:
		eachField(of.Elem(), append(slices.Clip(path), "[]"), visit)
	case reflect.Map:
		eachField(of.Elem(), append(slices.Clip(path), "example.com/key"), visit)
	case reflect.Bool:
		visit(path, true)
	case reflect.String:
		visit(path, "x")
	default:
		visit(path, 1)
	}
}

// needed is what an object must have besides the field that is set, by the
// field that holds it.
var needed = map[string]string{
	"initContainers":   `{name: i, image: busybox}`,
	"volumes":          `{name: w}`,
	"volumeMounts":     `{name: v, mountPath: /v}`,
	"volumeDevices":    `{name: v, devicePath: /v}`,
	"ports":            `{containerPort: 80}`,
	"env":              `{name: E}`,
	"tolerations":      `{key: k, effect: NoExecute}`,
	"sysctls":          `{name: net.ipv4.tcp_syncookies}`,
	"seccompProfile":   `{type: Localhost}`,
	"appArmorProfile":  `{type: Localhost}`,
	"matchExpressions": `{key: k, operator: In, values: [a]}`,
}

// set puts a value into a tree, through the first item of lists. holder is
// the field that holds the tree.
func set(t testing.TB, into any, holder string, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if path[0] == "[]" {
		items, _ := into.([]any)
		if len(items) == 0 {
			items = []any{nil}
		}
		items[0] = set(t, items[0], holder, path[1:], value)
		return items
	}
	object, _ := into.(tree)
	if object == nil {
		object = tree{}
		if text, ok := needed[holder]; ok {
			overlay(t, object, text)
		}
	}
	object[path[0]] = set(t, object[path[0]], path[0], path[1:], value)
	return object
}

// The list has to be of the whole type to be worth anything.
func TestFieldsAreAll(t *testing.T) {
	paths := 0
	eachField(reflect.TypeFor[batchv1.Job](), nil, func(path []string, value any) {
		paths++
		j, ok := set(t, nil, "", path, value).(tree)
		if !ok {
			t.Fatalf("%v is no path", path)
		}
		var typed batchv1.Job
		decoder := json.NewDecoder(bytes.NewReader(encoded(t, j)))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&typed); err != nil {
			t.Errorf("%v: %v", path, err)
		}
	})
	if paths < 500 {
		t.Errorf("only %d fields", paths)
	}
}
