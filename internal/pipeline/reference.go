package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/job"
)

// Reference names one output of a step: {{steps.NAME.outputs.KEY}}, or with
// |string before its end, to be put in as a text.
type Reference struct {
	Step string
	Key  string
}

func (r Reference) String() string { return "{{steps." + r.Step + ".outputs." + r.Key + "}}" }

var (
	reference = regexp.MustCompile(`\{\{\s*steps\.([a-z0-9-]+)\.outputs\.([A-Za-z_][A-Za-z0-9_.-]*)\s*(\|\s*string\s*)?\}\}`)
	// opening is how a reference begins, whole or not.
	opening = regexp.MustCompile(`\{\{\s*steps\.`)
)

// Found is a reference and the field that has it.
type Found struct {
	Field string
	Reference
}

// References finds those in a decoded JSON value, in the order of its fields.
// What begins like one and is none is a fault.
func References(field string, tree any) ([]Found, []job.Fault) {
	var found []Found
	var faults []job.Fault
	walk(field, tree, func(field, text string) any {
		for _, match := range reference.FindAllStringSubmatch(text, -1) {
			found = append(found, Found{field, Reference{match[1], match[2]}})
		}
		if len(opening.FindAllString(text, -1)) != len(reference.FindAllString(text, -1)) {
			faults = append(faults, job.Fault{Field: field, Message: "has a reference that cannot be read; write {{steps.NAME.outputs.KEY}}, or {{steps.NAME.outputs.KEY|string}}"})
		}
		return text
	})
	return found, faults
}

// Resolve checks the references of a step against the others, and notes what
// it wants of them.
func Resolve(steps []Step, step int, found []Found) []job.Fault {
	var faults []job.Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	sources, wanted := 0, 0
	for _, s := range steps {
		wanted += len(s.Wanted)
		sources += min(len(s.Wanted), 1)
	}
	for _, f := range found {
		source := slices.IndexFunc(steps, func(s Step) bool { return s.Name == f.Step })
		switch {
		case source < 0:
			fault(f.Field, "refers to step %q, which does not exist", shorten(f.Step))
		case !job.ValidOutput(f.Key):
			fault(f.Field, "%q cannot be the name of an output", shorten(f.Key))
		case !waitsFor(steps, steps[step].Name, f.Step):
			fault(f.Field, "refers to an output of step %s, for which this step does not wait; name it in after", f.Step)
		case slices.Contains(steps[source].Wanted, f.Key):
		case len(steps[source].Wanted) == 0 && sources == MaxSources:
			fault(f.Field, "refers to one step more than the %d whose outputs a pipeline may refer to", MaxSources)
		case wanted == MaxWanted:
			fault(f.Field, "refers to one output more than the %d that a pipeline may refer to", MaxWanted)
		default:
			if len(steps[source].Wanted) == 0 {
				sources++
			}
			steps[source].Wanted = append(steps[source].Wanted, f.Key)
			wanted++
		}
	}
	return faults
}

// Fill returns a decoded JSON value with the outputs in place of references:
// one that stands alone keeps the output's type unless it asks for a text, one
// inside a text is formatted. What was put in is not read again. missing lists what no step
// has left.
func (p *Pipeline) Fill(tree any) (filled any, missing []Reference) {
	value := func(text string) (json.RawMessage, bool) {
		match := reference.FindStringSubmatch(text)
		r := Reference{match[1], match[2]}
		var out json.RawMessage
		if i := p.step(r.Step); i >= 0 {
			out = p.Steps[i].Outputs[r.Key]
		}
		if out == nil && !slices.Contains(missing, r) {
			missing = append(missing, r)
		}
		return out, out != nil
	}
	filled = walk("", tree, func(_, text string) any {
		if match := reference.FindStringSubmatch(text); len(match) > 0 && match[0] == text && match[3] == "" {
			if out, ok := value(text); ok {
				return scalar(out)
			}
			return text
		}
		return reference.ReplaceAllStringFunc(text, func(match string) string {
			out, ok := value(match)
			if !ok {
				return match
			}
			return fmt.Sprint(scalar(out))
		})
	})
	return filled, missing
}

// scalar decodes an output.
func scalar(out json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return string(out)
	}
	return value
}

// walk returns a copy of a decoded JSON value in which each text is replaced
// by what visit makes of it. Keys of objects are no texts.
func walk(field string, tree any, visit func(field, text string) any) any {
	switch value := tree.(type) {
	case string:
		return visit(field, value)
	case []any:
		out := make([]any, len(value))
		for i, element := range value {
			out[i] = walk(fmt.Sprintf("%s[%d]", field, i), element, visit)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(value))
		for _, key := range slices.Sorted(maps.Keys(value)) {
			out[key] = walk(strings.TrimPrefix(field+"."+key, "."), value[key], visit)
		}
		return out
	default:
		return tree
	}
}
