package pipeline

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/job"
)

func tree(t testing.TB, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestReferences(t *testing.T) {
	found, faults := References("steps[1]", tree(t, `{"b":["{{steps.a.outputs.x}} and {{ steps.a.outputs.y.z }}",{"c":"{{steps.b-1.outputs._n}}"}],"a":"{{other}} {{","{{steps.a.outputs.key}}":1}`))
	want := []Found{
		{"steps[1].b[0]", Reference{"a", "x"}},
		{"steps[1].b[0]", Reference{"a", "y.z"}},
		{"steps[1].b[1].c", Reference{"b-1", "_n"}},
	}
	if !reflect.DeepEqual(found, want) || len(faults) > 0 {
		t.Errorf("found %v, faults %v", found, faults)
	}
	for _, text := range []string{
		`{{steps.a}}`, `{{steps.a.outputs}}`, `{{steps.a.output.x}}`, `{{steps.A.outputs.x}}`, `{{ steps.a.outputs.x`, `{{steps.a.outputs.x}`,
		`{{steps.a.outputs.x | upper}}`, `{{steps.a.outputs.x |}}`, `{{steps.a.outputs.x}} {{steps.}}`,
	} {
		if _, faults := References("f", text); len(faults) != 1 || faults[0].Field != "f" {
			t.Errorf("%s: faults %v", text, faults)
		}
	}
}

func TestResolve(t *testing.T) {
	all := steps("a b<a c<b d")
	faults := Resolve(all, 2, []Found{{"f1", Reference{"a", "x"}}, {"f2", Reference{"a", "x"}}, {"f3", Reference{"b", "y"}}})
	if len(faults) > 0 || !slices.Equal(all[0].Wanted, []string{"x"}) || !slices.Equal(all[1].Wanted, []string{"y"}) {
		t.Errorf("faults %v, wanted %q and %q", faults, all[0].Wanted, all[1].Wanted)
	}
	got := lines(Resolve(all, 3, []Found{{"f1", Reference{"a", "x"}}, {"f2", Reference{"x", "y"}}, {"f3", Reference{"d", "y"}}}))
	want := []string{
		"f1: refers to an output of step a, for which this step does not wait; name it in after",
		`f2: refers to step "x", which does not exist`,
		"f3: refers to an output of step d, for which this step does not wait; name it in after",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestFill(t *testing.T) {
	p := &Pipeline{Steps: []Step{{Name: "a", Outputs: job.Outputs{
		"n": []byte(`3`), "big": []byte(`12345678901234567890`), "yes": []byte(`true`), "text": []byte(`"a\"b"`), "sly": []byte(`"{{steps.a.outputs.n}}"`),
	}}}}
	tests := map[string]string{
		`"{{steps.a.outputs.n}}"`:                              `3`,
		`"{{steps.a.outputs.n|string}}"`:                       `"3"`,
		`"{{ steps.a.outputs.yes | string }}"`:                 `"true"`,
		`"{{steps.a.outputs.n|string}}x{{steps.a.outputs.n}}"`: `"3x3"`,
		`" {{steps.a.outputs.n}}"`:                             `" 3"`,
		`"{{steps.a.outputs.big}}"`:                            `12345678901234567890`,
		`"{{steps.a.outputs.yes}} {{steps.a.outputs.text}}"`:   `"true a\"b"`,
		`{"k":["{{steps.a.outputs.text}}",1.50,null,true]}`:    `{"k":["a\"b",1.50,null,true]}`,
		`"{{steps.a.outputs.sly}}"`:                            `"{{steps.a.outputs.n}}"`,
		`"x{{steps.a.outputs.sly}}"`:                           `"x{{steps.a.outputs.n}}"`,
		`{"{{steps.a.outputs.n}}":"{{n}}"}`:                    `{"{{steps.a.outputs.n}}":"{{n}}"}`,
	}
	for text, want := range tests {
		filled, missing := p.Fill(tree(t, text))
		if !reflect.DeepEqual(filled, tree(t, want)) || len(missing) > 0 {
			t.Errorf("%s became %v, missing %v", text, filled, missing)
		}
	}
	_, missing := p.Fill(tree(t, `["{{steps.a.outputs.none}}","-{{steps.b.outputs.n}}-","{{steps.a.outputs.none}}"]`))
	if !slices.Equal(missing, []Reference{{"a", "none"}, {"b", "n"}}) {
		t.Errorf("missing %v", missing)
	}
}

// FuzzFill: an output never adds structure, and what stands outside of
// references stays.
func FuzzFill(f *testing.F) {
	f.Add(`{"a":["{{steps.a.outputs.x}}-{{steps.a.outputs.y}}"]}`, `k=v`)
	f.Add(`"{{steps.a.outputs.x}}"`, `{"x":"{\"b\":1}"}`)
	f.Add(`["{{steps.a.outputs.x}}",{"{{steps.a.outputs.x}}":0}]`, "x=\"}],\ny={{steps.a.outputs.x}}")
	f.Fuzz(func(t *testing.T, text, result string) {
		var before any
		if json.Unmarshal([]byte(text), &before) != nil {
			return
		}
		outputs, err := job.ParseOutputs(result)
		if err != nil {
			return
		}
		found, _ := References("", before)
		p := &Pipeline{Steps: []Step{{Name: "a", Outputs: outputs}}}
		after, missing := p.Fill(before)
		if !sameShape(before, after) {
			t.Fatalf("%s became %v", text, after)
		}
		if len(found) == 0 && !reflect.DeepEqual(before, after) || len(missing) > len(found) {
			t.Fatalf("%v became %v, missing %v of %v", before, after, missing, found)
		}
	})
}

func sameShape(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key := range a {
			if _, has := b[key]; !has || !sameShape(a[key], b[key]) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && len(a) == len(b) && slices.EqualFunc(a, b, sameShape)
	case string:
		switch b.(type) {
		case string, json.Number, bool:
			return true
		}
		return false
	default:
		return reflect.DeepEqual(a, b)
	}
}
