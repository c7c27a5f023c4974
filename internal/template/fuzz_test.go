package template

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
)

// fieldsOf returns the JSON names of a type's fields, sorted.
func fieldsOf[T any]() []string {
	var names []string
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// FuzzRender renders any template with any values. What renders is a
// submission as the API has it, is within the limits, renders the same again,
// and has no other names than the template.
func FuzzRender(f *testing.F) {
	seed := with(`["{{any}}",{"a":"{{gpus}}","b":"-{{rate}}-"}]`)
	text, err := json.Marshal(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, []byte(`{"any":"{{gpus}}","rate":1e9}`))
	f.Add(text, []byte(`{"args":["a"],"gpus":"4","x":1}`))
	f.Add([]byte(`{"name":"a","parameters":[{"name":"l","type":"list","items":"number"}],"job":{"manifest":{"a":["{{l}}"]},"labels":{"b":"{{\"{{\"}}"}}}`), []byte(`{"l":[1,-0.5e-9]}`))
	f.Add([]byte(`{"job":{"priority":"{{p}}","placement":{"regions":"{{l}}"}}}`), []byte(`{"p":1e400,"l":[[]]}`))
	f.Fuzz(func(t *testing.T, text, given []byte) {
		var of Template
		var values map[string]json.RawMessage
		if json.Unmarshal(text, &of) != nil || json.Unmarshal(given, &values) != nil {
			return
		}
		valid := len(of.Validate()) == 0
		rendered, faults := Render(of, values)
		if len(faults) > maxFaults || (rendered == nil) == (len(faults) == 0) {
			t.Fatalf("rendered to %d bytes with %d faults", len(rendered), len(faults))
		}
		if rendered == nil {
			return
		}
		if len(rendered) > MaxRendered {
			t.Errorf("rendered to %d bytes", len(rendered))
		}
		again, _ := Render(of, values)
		if string(again) != string(rendered) {
			t.Errorf("rendered to %s, then to %s", rendered, again)
		}
		decoder := json.NewDecoder(strings.NewReader(string(rendered)))
		decoder.DisallowUnknownFields()
		var submission api.Submission
		if err := decoder.Decode(&submission); err != nil {
			t.Errorf("a valid (%t) template renders to %s, which is no submission: %s", valid, rendered, err)
		}
		known := map[string]bool{}
		names(generic(of.Job), known)
		added := map[string]bool{}
		names(generic(rendered), added)
		for name := range added {
			if !known[name] {
				t.Errorf("rendering added the name %q", name)
			}
		}
	})
}

// names collects the names of all objects in a tree.
func names(tree any, into map[string]bool) {
	switch v := tree.(type) {
	case map[string]any:
		for name, member := range v {
			into[name] = true
			names(member, into)
		}
	case []any:
		for _, item := range v {
			names(item, into)
		}
	}
}
