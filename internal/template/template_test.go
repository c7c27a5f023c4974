package template

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

// with returns a template whose manifest has one value, and parameters of
// every type.
func with(value string) Template {
	least, most := 1.0, 8.0
	return Template{
		Name: "train",
		Parameters: []Parameter{
			{Name: "gpus", Type: Integer, Minimum: &least, Maximum: &most, Default: json.RawMessage(`2`)},
			{Name: "rate", Type: Number},
			{Name: "debug", Type: Boolean},
			{Name: "size", Type: Choice, Choices: []string{"small", "large"}},
			{Name: "note", Type: String, Pattern: "[a-z ]*|\\PL*", MaxLength: 40},
			{Name: "any", Type: String},
			{Name: "args", Type: List},
			{Name: "ports", Type: List, Items: Integer, MaxItems: 3},
		},
		Job: json.RawMessage(`{"manifest":{"value":` + value + `}}`),
	}
}

// values are parameters as a submission has them.
func values(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	var of map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &of); err != nil {
		t.Fatal(err)
	}
	return of
}

// wantFaults fails the test unless the faults are the wanted ones, each by the
// beginning of "field: message".
func wantFaults(t *testing.T, got []job.Fault, want ...string) {
	t.Helper()
	var lines []string
	for _, fault := range got {
		lines = append(lines, fault.Field+": "+fault.Message)
	}
	ok := len(lines) == len(want)
	for i := range min(len(lines), len(want)) {
		ok = ok && strings.HasPrefix(lines[i], want[i])
	}
	if !ok {
		t.Errorf("faults are\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestRender(t *testing.T) {
	for _, test := range []struct{ value, given, want string }{
		{`"plain"`, `{}`, `"plain"`},
		{`{"a":[1,1.50,true,null,"x"]}`, `{}`, `{"a":[1,1.50,true,null,"x"]}`},

		// Alone, a value keeps its type.
		{`"{{gpus}}"`, `{}`, `2`},
		{`"{{ gpus }}"`, `{"gpus":8}`, `8`},
		{`"{{rate}}"`, `{"rate":0.5}`, `0.5`},
		{`"{{rate}}"`, `{"rate":1e3}`, `1000`},
		{`"{{debug}}"`, `{"debug":false}`, `false`},
		{`"{{size}}"`, `{"size":"large"}`, `"large"`},
		{`"{{any}}"`, `{"any":"12"}`, `"12"`},
		{`"{{any}}"`, `{"any":""}`, `""`},
		{`"{{args}}"`, `{"args":["a","b"]}`, `["a","b"]`},
		{`"{{args}}"`, `{"args":[]}`, `[]`},
		{`"{{ports}}"`, `{"ports":[80,443]}`, `[80,443]`},

		// Inside a text it is formatted.
		{`"--gpus={{gpus}} --rate={{rate}} --debug={{debug}}"`, `{"rate":1e-7,"debug":true}`, `"--gpus=2 --rate=1e-7 --debug=true"`},
		{`"{{gpus}}{{gpus}}"`, `{}`, `"22"`},
		{`"{{gpus|string}}"`, `{}`, `"2"`},
		{`"{{ debug | string }}"`, `{"debug":true}`, `"true"`},

		// A list in a list gives its items.
		{`["run","{{args}}","end"]`, `{"args":["a","b"]}`, `["run","a","b","end"]`},
		{`["run","{{args}}"]`, `{"args":[]}`, `["run"]`},
		{`["run",["{{args}}"]]`, `{"args":["a"]}`, `["run",["a"]]`},

		// What is optional and not given leaves nothing.
		{`{"a":1,"b":"{{rate}}"}`, `{}`, `{"a":1}`},
		{`["x","{{rate}}","{{args}}"]`, `{}`, `["x"]`},
		{`{"b":"{{rate|string}}"}`, `{}`, `{}`},
		{`"<{{any}}>"`, `{}`, `"<>"`},

		// Braces that stand for themselves.
		{`"{{\"{{\"}}gpus}}"`, `{}`, `"{{gpus}}"`},
		{`"{{ \"{{any}}\" }}"`, `{"any":"x"}`, `"{{any}}"`},
		{`"{\"gpus\":{{gpus}}}"`, `{}`, `"{\"gpus\":2}"`},
		{`"{{\"\"}}{{gpus}}"`, `{}`, `"2"`},
		{`"}} { {"`, `{}`, `"}} { {"`},

		// Values are never read as a template, a quote or a field.
		{`"{{any}}"`, `{"any":"{{gpus}}"}`, `"{{gpus}}"`},
		{`"{{any}}{{any}}"`, `{"any":"{{"}`, `"{{{{"`},
		{`"{\"name\":\"{{any}}\"}"`, `{"any":"\",\"admin\":\"yes"}`, `"{\"name\":\"\",\"admin\":\"yes\"}"`},
		{`{"name":"{{any}}"}`, `{"any":"x\",\"privileged\":true,\"y\":\""}`, `{"name":"x\",\"privileged\":true,\"y\":\""}`},
		{`"{{any}}"`, `{"any":"a\nb: c\n- d & <e> \u0000"}`, `"a\nb: c\n- d & <e> \u0000"`},
	} {
		rendered, faults := Render(with(test.value), values(t, test.given))
		wantFaults(t, faults)
		want := `{"manifest":{"value":` + test.want + `}}`
		if string(rendered) != want {
			t.Errorf("%s with %s renders to\n%s\nwant\n%s", test.value, test.given, rendered, want)
		}
	}
}

// TestRenderFaultsOfValues has every kind of wrong value, all at once.
func TestRenderFaultsOfValues(t *testing.T) {
	_, faults := Render(with(`1`), values(t, `{
		"gpus": "8", "rate": true, "debug": 1, "size": "medium", "note": "NO", "any": null, "args": ["a", 1, ["b"]],
		"ports": [1,2,3,4], "gpu": 1, "x y": 2
	}`))
	wantFaults(t, faults,
		`parameters.any: is null, and should be a string`,
		"parameters.args[1]: is the number 1, and should be a string",
		"parameters.args[2]: is a list, and should be a string",
		"parameters.debug: is the number 1, and should be true or false",
		"parameters.gpu: is no parameter of this template",
		`parameters.gpus: is the string "8", and should be a whole number`,
		`parameters.note: "NO" does not match the pattern [a-z ]*|\PL*`,
		"parameters.ports: has 4 items; 0 to 3 are allowed",
		"parameters.rate: is true, and should be a number",
		`parameters.size: "medium" is not one of small, large`,
		"parameters[x y]: is no parameter of this template; it has any, args,",
	)
	for given, want := range map[string]string{
		`{"gpus":0}`:                         "parameters.gpus: 0 is less than 1",
		`{"gpus":9}`:                         "parameters.gpus: 9 is more than 8",
		`{"gpus":1.5}`:                       "parameters.gpus: 1.5 is not a whole number",
		`{"gpus":1e0}`:                       "parameters.gpus: 1e0 is not a whole number",
		`{"gpus":9223372036854775808}`:       "parameters.gpus: 9223372036854775808 is not",
		`{"gpus":-9223372036854775808}`:      "parameters.gpus: -9223372036854775808 is not",
		`{"rate":1e999}`:                     "parameters.rate: 1e999 is out of range",
		`{"args":{}}`:                        "parameters.args: is an object, and should be a list",
		`{"any":{"a":1}}`:                    "parameters.any: is an object, and should be a string",
		`{"note":"` + long("a", 41) + `"}`:   "parameters.note: has 41 characters; 0 to 40 are allowed",
		`{"any":"` + long("é", 32769) + `"}`: "parameters",
		`{"note":"ab1"}`:                     `parameters.note: "ab1" does not match`,
	} {
		_, faults := Render(with(`1`), values(t, given))
		wantFaults(t, faults, want)
	}
	required := with(`"{{need}}"`)
	required.Parameters = append(required.Parameters, Parameter{Name: "need", Type: String, Required: true}, Parameter{Name: "also", Type: List, Required: true})
	_, faults = Render(required, values(t, `{"ned":1}`))
	wantFaults(t, faults, "parameters.ned: is no parameter", "parameters.also: is required", "parameters.need: is required")
}

func long(text string, times int) string { return strings.Repeat(text, times) }

// TestRenderBombs has small templates and values that would become large.
func TestRenderBombs(t *testing.T) {
	bomb := with(`"` + long("{{any}}", 30_000) + `"`)
	_, faults := Render(bomb, values(t, `{"any":"`+long("a", 30_000)+`"}`))
	wantFaults(t, faults, "template: renders to more than 1048576 bytes")

	bomb = with(`[` + long(`"{{any}}",`, 15_000) + `1]`)
	_, faults = Render(bomb, values(t, `{"any":"`+long("a", 30_000)+`"}`))
	wantFaults(t, faults, "template: renders to more than 1048576 bytes")

	items := `"` + long(`a","`, 999) + `a"`
	bomb = with(`[` + long(`"{{args}}",`, 15_000) + `1]`)
	_, faults = Render(bomb, values(t, `{"args":[`+items+`]}`))
	wantFaults(t, faults, "template: renders to more than 1048576 bytes or 20000 values")

	// Escapes make JSON six times as long as its text.
	bomb = with(`"` + long("{{any}}", 40) + `"`)
	_, faults = Render(bomb, values(t, `{"any":"`+long(`\u0001`, 10_000)+`"}`))
	wantFaults(t, faults, "template: renders to 2400026 bytes")

	_, faults = Render(with(`1`), map[string]json.RawMessage{"any": json.RawMessage(long("[", 60_000) + long("]", 60_000))})
	wantFaults(t, faults, "parameters: are 120003 bytes long; at most 65536 are allowed")
	_, faults = Render(with(`1`), map[string]json.RawMessage{"any": json.RawMessage(long("[", 20_000) + long("]", 20_000))})
	wantFaults(t, faults, "parameters.any: is not JSON: invalid character")
	_, faults = Render(with(`1`), map[string]json.RawMessage{"any": json.RawMessage(`"a" "b"`)})
	wantFaults(t, faults, "parameters.any: is not JSON: something follows")

	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf("%q", fmt.Sprint(i))
	}
	_, faults = Render(with(`1`), map[string]json.RawMessage{"args": json.RawMessage("[" + strings.Join(many, ",") + "]")})
	wantFaults(t, faults, "parameters.args: has 1001 items; 0 to 1000 are allowed")
	_, faults = Render(with(`1`), map[string]json.RawMessage{"args": json.RawMessage("[1" + long(",1", 999) + "]")})
	if len(faults) != maxFaults {
		t.Errorf("%d faults are told at once", len(faults))
	}
}

func TestValidateJob(t *testing.T) {
	for text, want := range map[string][]string{
		`{"manifest":{}}`: nil,
		`{"manifest":{"a":"{{gpus}}"},"namespace":"{{any}}","priority":"{{gpus}}","retries":3,"labels":{"a":"{{any}}","b":"{{gpus|string}}"},
		  "placement":{"regions":["us-{{any}}","{{args}}"],"avoidRegions":"{{args}}","maxPricePerHour":"{{rate}}","capacityType":"{{size}}"},
		  "deadline":"{{gpus}}h","ttlAfterFinished":"1h","onRegionLost":"fail","onRegionLostLimit":"1h"}`: nil,
		``:                       {"job: is required"},
		`[]`:                     {"job: is a list, and should be an object"},
		`{"manifest":`:           {"job: is not JSON"},
		`{}`:                     {"job.manifest: is required"},
		`{"manifest":"yaml"}`:    {"job.manifest: is a string, and should be an object"},
		`{"manifest":null}`:      {"job.manifest: is null"},
		`{"manifest":"{{any}}"}`: {"job.manifest: gets type string from parameter any, and should be an object"},
		`{"manifest":{},"template":{"name":"x"},"prio":1,"placement":{"region":"x"}}`: {
			"job.placement.region: is no field here", "job.prio: is no field here", "job.template: is no field here",
		},
		`{"manifest":{},"priority":"{{any}}","retries":1.5,"labels":{"a":"{{gpus}}","b/c":1},"placement":{"regions":["{{ports}}",1],"avoidRegions":"{{ports}}"},"deadline":60,"namespace":true}`: {
			"job.deadline: is the number 60, and should be a string",
			"job.labels.a: gets type integer from parameter gpus, and should be a string",
			"job.labels[b/c]: is the number 1, and should be a string",
			"job.namespace: is true, and should be a string",
			"job.placement.avoidRegions: gets a list of type integer from parameter ports, and should be a string",
			"job.placement.regions[0]: gets type integer from parameter ports, and should be a string",
			"job.placement.regions[1]: is the number 1, and should be a string",
			"job.priority: gets type string from parameter any, and should be a whole number",
			"job.retries: is the number 1.5, and should be a whole number",
		},
		`{"manifest":{"a":"{{gpu}}","b":"{{any","c":"{{ 1x }}","d":"{{gpus|upper}}","e":"x{{args}}","{{any}}":1,"g":"{{\"x}}","h":["{{any}}","{{{{"],"i":"{{}}"}}`: {
			"job.manifest.a: has {{gpu}}, and there is no such parameter; it has any,",
			"job.manifest.b: has {{ without }}",
			"job.manifest.c: has {{1x }}, which is no name",
			"job.manifest.d: has {{gpus|upper}}; string is the only word",
			"job.manifest.e: has {{args}} inside a text",
			`job.manifest.g: has {{" without "}}`,
			"job.manifest.h[1]: has {{ without }}",
			"job.manifest.i: has {{}}, which is no name",
			"job.manifest[{{any}}]: has {{ in a name",
		},
		`{"manifest":{"a":` + long("[", 60) + long("]", 60) + `}}`:           {"job.manifest.a" + long("[0]", 48) + ": is nested more than 50 deep"},
		`{"manifest":{"a":` + long(`{"a":`, 60) + "1" + long("}", 60) + `}}`: {"job.manifest.a" + long(".a", 48) + ": is nested more than 50 deep"},
		`{"manifest":{"a":[1` + long(",1", 20_000) + `]}}`:                   {"job: has more than 20000 values"},
		`{"manifest":{"a":"` + long("x", 256<<10) + `"}}`:                    {"job: is 262165 bytes long"},
	} {
		of := with(`1`)
		of.Job = json.RawMessage(text)
		wantFaults(t, of.Validate(), want...)
	}
}

func TestValidateParameters(t *testing.T) {
	number := func(f float64) *float64 { return &f }
	for _, test := range []struct {
		of   Parameter
		want []string
	}{
		{Parameter{Name: "a", Type: String, Pattern: "x{2}", MinLength: 2, MaxLength: 2, Default: json.RawMessage(`"xx"`)}, nil},
		{Parameter{Name: "a", Type: List, Items: Choice, Choices: []string{"x", ""}, MinItems: 1, Default: json.RawMessage(`["x",""]`)}, nil},
		{Parameter{Name: "", Type: "text"}, []string{`parameters[0].name: "" is not a name`, `parameters[0].type: "text" is not one of [string`}},
		{Parameter{Name: "9", Type: List, Items: List}, []string{`parameters[0].name: "9" is not a name`, `parameters[0].items: "list" is not one of`}},
		{Parameter{Name: "a", Type: String, Items: String, Minimum: number(1), Choices: []string{}}, []string{
			"parameters[0]: is no list", "parameters[0]: is of type string: minimum", "parameters[0]: is of type string: choices",
		}},
		{Parameter{Name: "a", Type: Integer, Pattern: "x", MinItems: 1}, []string{"parameters[0]: is no list", "parameters[0]: is of type integer: pattern"}},
		{Parameter{Name: "a", Type: Choice}, []string{"parameters[0].choices: 0 choices; 1 to 100"}},
		{Parameter{Name: "a", Type: Choice, Choices: []string{"x", "y", "x", long("z", 300)}}, []string{
			`parameters[0].choices[2]: "x" is listed twice`, "parameters[0].choices[3]: is longer than 256 bytes",
		}},
		{Parameter{Name: "a", Type: Integer, Minimum: number(0.5), Maximum: number(1e300)}, []string{
			"parameters[0].minimum: 0.5 is not a whole number", "parameters[0].maximum: 1e+300 is not a whole number",
		}},
		{Parameter{Name: "a", Type: Number, Minimum: number(2), Maximum: number(1)}, []string{"parameters[0].minimum: 2 is more than the maximum, 1"}},
		{Parameter{Name: "a", Type: List, MinItems: 3, MaxItems: 2, MinLength: -1, MaxLength: 40_000}, []string{
			"parameters[0].minLength: -1 is outside", "parameters[0].maxLength: 40000 is outside", "parameters[0].minItems: 3 is more than maxItems, 2",
		}},
		{Parameter{Name: "a", Type: String, Pattern: "("}, []string{"parameters[0].pattern: is no regular expression"}},
		{Parameter{Name: "a", Type: String, Pattern: "a)|(b"}, []string{"parameters[0].pattern: is no regular expression"}},
		{Parameter{Name: "a", Type: String, Pattern: `(.{100}){9}`}, nil},
		{Parameter{Name: "a", Type: String, Pattern: `(.{100}){9}(.{100}){9}`}, []string{"parameters[0].pattern: is too large"}},
		{Parameter{Name: "a", Type: String, Pattern: long("a", 1001)}, []string{"parameters[0].pattern: is longer than 1000 bytes"}},
		{Parameter{Name: "a", Type: Integer, Maximum: number(3), Default: json.RawMessage(`4`)}, []string{"parameters[0].default: 4 is more than 3"}},
		{Parameter{Name: "a", Type: Integer, Required: true, Default: json.RawMessage(`4`)}, []string{"parameters[0].required: has no meaning with a default"}},
		{Parameter{Name: "a", Type: String, Description: long("é", 1001)}, []string{"parameters[0].description: is longer than 1000"}},
	} {
		of := Template{Name: "t", Parameters: []Parameter{test.of}, Job: json.RawMessage(`{"manifest":{}}`)}
		wantFaults(t, of.Validate(), test.want...)
	}
	twice := with(`1`)
	twice.Parameters = append(twice.Parameters, Parameter{Name: "gpus", Type: String})
	wantFaults(t, twice.Validate(), `parameters[8].name: "gpus" is declared twice`)
	many := with(`1`)
	many.Name, many.Description = "Train", long("x", 1001)
	many.Parameters = slices.Repeat(many.Parameters, 20)
	wantFaults(t, many.Validate(), `name: "Train" is not a DNS label`, "description: is longer", "parameters: 160 parameters; at most 100")
}

// TestTemplateSize counts parameters, and characters as they are stored.
func TestTemplateSize(t *testing.T) {
	for _, value := range []string{"x", "<"} {
		of := with(`"` + long(value, 100_000) + `"`)
		wants := map[string][]string{"x": nil, "<": {"job: is 6"}}[value]
		wantFaults(t, of.Validate(), wants...)
		of.Parameters = nil
		for i := range 90 {
			choices := make([]string, 10)
			for n := range choices {
				choices[n] = fmt.Sprint(n, long("c", 200))
			}
			of.Parameters = append(of.Parameters, Parameter{Name: fmt.Sprintf("p%d", i), Type: Choice, Choices: choices})
		}
		wantFaults(t, of.Validate(), "job: is ")
	}
}

func TestSame(t *testing.T) {
	a, b := with(`{"x":1,"y":2}`), with(`{ "y" : 2, "x": 1 }`)
	b.Version, b.UpdatedBy, b.UpdatedAt = 3, "someone", time.Unix(1, 0)
	if !a.Same(b) {
		t.Error("spaces, order and version make a difference")
	}
	for _, other := range []Template{with(`{"x":1,"y":3}`), {Name: a.Name, Job: a.Job}} {
		if a.Same(other) {
			t.Errorf("%+v is the same as %+v", a, other)
		}
	}
}

// TestFormOfSubmission compares what a template may set with what a submission
// has.
func TestFormOfSubmission(t *testing.T) {
	var names []string
	for _, name := range fieldsOf[api.Submission]() {
		if name != "template" && name != "parameters" {
			names = append(names, name)
		}
	}
	if got := sortedKeys(submissionForm.fields); !slices.Equal(got, names) {
		t.Errorf("a template may set %v; a submission has %v", got, names)
	}
	if got, want := sortedKeys(submissionForm.fields["placement"].fields), fieldsOf[api.Placement](); !slices.Equal(got, want) {
		t.Errorf("a template's placement may have %v; that of a submission has %v", got, want)
	}
}
