package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gco-project/gco/internal/job"
)

// MaxRendered bounds what a template renders to, in bytes: as much as a
// submission may have.
const MaxRendered = 1 << 20

// Render puts values into the places of a template. The result is a submission
// as a JSON object, without placeholders; the faults are those of the values,
// all at once, then those of the result's size. The text of a value is never
// read as a template.
func Render(t Template, values map[string]json.RawMessage) (json.RawMessage, []job.Fault) {
	f := &faults{}
	declared := f.parameters(t.Parameters)
	tree := f.tree(t.Job)
	if len(f.list) == 0 {
		f.job(tree, declared)
	}
	if len(f.list) > 0 {
		return nil, f.list
	}
	r := renderer{values: f.values(declared, values)}
	if len(f.list) > 0 {
		return nil, f.list
	}
	rendered, _ := r.value(tree)
	if r.size > MaxRendered || r.count > maxValues {
		f.add("template", "renders to more than %d bytes or %d values with these parameters", MaxRendered, maxValues)
		return nil, f.list
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(rendered); err != nil {
		panic("template: a rendered tree that JSON cannot hold: " + err.Error())
	}
	if out.Len() > MaxRendered {
		f.add("template", "renders to %d bytes with these parameters; at most %d are allowed", out.Len(), MaxRendered)
		return nil, f.list
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// renderer copies a tree that was checked, with values in the place of
// placeholders.
type renderer struct {
	values map[string]any
	// size and count are of what was made so far. Over a limit, nothing more
	// is made.
	size, count int
}

// grow counts what is about to be made; false says that it is too much.
func (r *renderer) grow(size int) bool {
	r.size += size
	r.count++
	return r.size <= MaxRendered && r.count <= maxValues
}

// value returns a part of the tree with everything in place. ok is false where
// nothing is to be there: an optional parameter has no value.
func (r *renderer) value(part any) (value any, ok bool) {
	switch v := part.(type) {
	case string:
		return r.text(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		r.grow(0)
		for name, member := range v {
			r.size += len(name)
			if value, ok := r.value(member); ok {
				out[name] = value
			}
		}
		return out, true
	case []any:
		out := make([]any, 0, len(v))
		r.grow(0)
		for _, item := range v {
			out = r.items(out, item)
		}
		return out, true
	default:
		r.grow(1)
		return v, true
	}
}

// items adds an item to a list, or those of the list that stands in its place.
func (r *renderer) items(to []any, item any) []any {
	value, ok := r.value(item)
	_, placeholder := item.(string)
	list, isList := value.([]any)
	switch {
	case !ok:
		return to
	case placeholder && isList:
		return append(to, list...)
	default:
		return append(to, value)
	}
}

func (r *renderer) text(text string) (any, bool) {
	if !strings.Contains(text, "{{") {
		r.grow(len(text))
		return text, true
	}
	all, err := pieces(text)
	if err != nil {
		panic("template: a checked text with a fault: " + err.Error())
	}
	if alone(all) {
		value, given := r.values[all[0].name]
		return value, given && r.growAll(value)
	}
	var out strings.Builder
	for _, p := range all {
		part := p.plain
		if p.name != "" {
			value, given := r.values[p.name]
			if !given && p.formatted && len(all) == 1 {
				return nil, false
			}
			part = format(value)
		}
		if r.size+out.Len()+len(part) > MaxRendered {
			r.size = MaxRendered + 1
			return nil, false
		}
		out.WriteString(part)
	}
	r.grow(out.Len())
	return out.String(), true
}

// growAll counts a value; false says that it is too much.
func (r *renderer) growAll(value any) bool {
	if items, ok := value.([]any); ok {
		for _, item := range items {
			if !r.grow(len(format(item))) {
				return false
			}
		}
		return true
	}
	return r.grow(len(format(value)))
}

// format is a value as text; that of no value is empty.
func format(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}
