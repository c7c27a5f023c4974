package template

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestDocs renders the example of docs/templates.md with the values that the
// page gives it, and looks for every type there.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("there is no example")
	}
	var of Template
	if err := yaml.UnmarshalStrict(block[1], &of); err != nil {
		t.Fatal(err)
	}
	wantFaults(t, of.Validate())
	rendered, faults := Render(of, values(t, `{"run":"first","gpus":4}`))
	wantFaults(t, faults)
	for _, want := range []string{`"name":"train-first"`, `"nvidia.com/gpu":4`, `run first on 4 GPUs`} {
		if !strings.Contains(string(rendered), want) {
			t.Errorf("there is no %s in %s", want, rendered)
		}
	}
	for _, kind := range Types {
		if !strings.Contains(string(page), "`"+string(kind)+"`") {
			t.Errorf("type %s is not described", kind)
		}
	}
}

// TestDocsOfPlaceholders renders what the table of the page says.
func TestDocsOfPlaceholders(t *testing.T) {
	page, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([^`]*)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) != 4 || !strings.Contains(cells[1], "{{") {
			continue
		}
		written, becomes := code.FindStringSubmatch(cells[1]), code.FindStringSubmatch(cells[2])
		if becomes == nil {
			continue
		}
		var value any
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(written[1], "\x00", "|")), &value); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		rendered, faults := Render(with(string(text)), values(t, `{"gpus":4}`))
		wantFaults(t, faults)
		if !strings.Contains(string(rendered), becomes[1]) {
			t.Errorf("%s renders to %s, not to %s", written[1], rendered, becomes[1])
		}
		rows++
	}
	if rows != 4 {
		t.Errorf("%d rows were found", rows)
	}
}
