package cli

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
)

func TestParametersHaveTheTypesOfTheTemplate(t *testing.T) {
	of := api.Template{Parameters: []api.Parameter{
		{Name: "text", Type: "string"},
		{Name: "size", Type: "choice"},
		{Name: "n", Type: "integer"},
		{Name: "x", Type: "number"},
		{Name: "on", Type: "boolean"},
		{Name: "words", Type: "list"},
		{Name: "ports", Type: "list", Items: "integer"},
	}}
	file := filepath.Join(t.TempDir(), "given.yaml")
	if err := os.WriteFile(file, []byte("n: 3\nwords: [a, 2026-01-31]\ntext: \"5\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		pairs []string
		file  string
		in    string
		want  string
	}{
		{nil, "", "", `{}`},
		{[]string{"text=5", "size=true", "n=5", "x=-1e3", "on=true"}, "", "", `{"n":5,"on":true,"size":"true","text":"5","x":-1e3}`},
		// What suits no type goes out as text; the server says what is wrong.
		{[]string{"n=five", "x=", "on=[true]", "unknown=1"}, "", "", `{"n":"five","on":"[true]","unknown":"1","x":""}`},
		{[]string{"text=a=b,c", `size="q"`}, "", "", `{"size":"\"q\"","text":"a=b,c"}`},
		{[]string{"words=a,b"}, "", "", `{"words":["a,b"]}`},
		{[]string{"words=a", "ports=80", "words=b", "ports=x"}, "", "", `{"ports":[80,"x"],"words":["a","b"]}`},
		{[]string{`words=["a","b"]`, "ports=[]"}, "", "", `{"ports":[],"words":["a","b"]}`},
		{[]string{`words=[`}, "", "", `{"words":["["]}`},
		{nil, file, "", `{"n":3,"text":"5","words":["a","2026-01-31"]}`},
		{[]string{"n=4"}, file, "", `{"n":4,"text":"5","words":["a","2026-01-31"]}`},
		{nil, "-", `{"n": 7}`, `{"n":7}`},
		{nil, "-", "", `{}`},
	} {
		flags := parameterFlags{pairs: test.pairs, file: test.file}
		got, err := flags.values(strings.NewReader(test.in), of)
		if err != nil {
			t.Errorf("%v: %v", test.pairs, err)
			continue
		}
		if text, _ := json.Marshal(got); string(text) != test.want {
			t.Errorf("%v with %q are %s, want %s", test.pairs, test.file, text, test.want)
		}
	}
}

func TestWrongParameters(t *testing.T) {
	for _, pairs := range [][]string{{"n"}, {"=1"}, {"n=1", "n=2"}} {
		flags := parameterFlags{pairs: pairs}
		_, err := flags.values(nil, api.Template{Parameters: []api.Parameter{{Name: "n", Type: "integer"}}})
		if _, ok := errors.AsType[*usageError](err); !ok {
			t.Errorf("%v: %v", pairs, err)
		}
	}
	for text, want := range map[string]string{
		"[1]":        "a mapping of names to values expected",
		"a: {{b}}":   "is a placeholder without quotes?",
		"a: 1\na: 2": "already defined",
		"a: [":       "line 1",
		"a: .nan":    "NaN",
	} {
		flags := parameterFlags{file: "-"}
		if _, err := flags.values(strings.NewReader(text), api.Template{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzYAMLToJSON: whatever a file holds becomes JSON or an error.
func FuzzYAMLToJSON(f *testing.F) {
	for _, seed := range []string{
		"name: a\njob: {manifest: {n: \"{{x}}\"}}", "a: {{b}}", "a: &b [1]\nc: *b", "- 2026-01-31\n- 0x1F\n- .inf", "? [a]\n: b", "<<: {a: 1}", "!!binary aGk=",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := yamlToJSON(text)
		if (err == nil) != json.Valid(out) {
			t.Errorf("%q became %q with error %v", text, out, err)
		}
		_, _ = readTemplate(document{"fuzz", text})
	})
}
