package template

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gco-project/gco/internal/job"
)

// Limits on the tree of a template, the same as for a manifest.
const (
	maxDepth  = 50
	maxValues = 20_000
)

// object is the kind of a form that no parameter has.
const object Type = "object"

// form is what a place of a submission takes.
type form struct {
	of Type
	// fields are those of an object; each is the form of what a list has, or
	// an object with any names. An object without either takes anything.
	fields map[string]*form
	each   *form
}

func (w *form) String() string {
	if w.of == object {
		return "an object"
	}
	return kinds[w.of]
}

var (
	textForm   = &form{of: String}
	wholeForm  = &form{of: Integer}
	numberForm = &form{of: Number}
	textsForm  = &form{of: List, each: textForm}

	// submissionForm is a submission of the API, without template and
	// parameters: templates do not nest. A test compares it with package api.
	submissionForm = &form{of: object, fields: map[string]*form{
		"manifest": {of: object},
		"labels":   {of: object, each: textForm},
		"placement": {of: object, fields: map[string]*form{
			"regions": textsForm, "avoidRegions": textsForm, "capacityType": textForm, "maxPricePerHour": numberForm,
		}},
		"namespace": textForm, "priority": wholeForm, "retries": wholeForm, "deadline": textForm,
		"ttlAfterFinished": textForm, "onRegionLost": textForm, "onRegionLostLimit": textForm, "model": textForm,
	}}
)

// tree decodes the job of a template; nil after a fault.
func (f *faults) tree(text json.RawMessage) map[string]any {
	if len(text) == 0 {
		f.add("job", "is required: a submission with a manifest")
		return nil
	}
	if len(text) > MaxSize {
		f.add("job", "is %d bytes long; at most %d are allowed", len(text), MaxSize)
		return nil
	}
	value, err := decode(text)
	if err != nil {
		f.add("job", "is not JSON: %s", err)
		return nil
	}
	tree, ok := value.(map[string]any)
	if !ok {
		f.add("job", "is %s, and should be an object", describe(value))
		return nil
	}
	return tree
}

// job checks the tree: its names, its placeholders and, outside of the
// manifest, that what arrives in a place is what the place takes.
func (f *faults) job(tree map[string]any, declared map[string]*parameter) {
	c := checker{faults: f, declared: declared}
	if _, ok := tree["manifest"]; !ok {
		f.add("job.manifest", "is required: a Kubernetes Job (batch/v1) as an object")
	}
	c.value(tree, submissionForm, "job", 1)
	if c.values > maxValues {
		f.list = []job.Fault{{Field: "job", Message: fmt.Sprintf("has more than %d values", maxValues)}}
	}
}

// checker walks a tree with the form beside it; nil is the form that takes
// anything.
type checker struct {
	*faults
	declared map[string]*parameter
	values   int
}

func (c *checker) value(value any, want *form, at string, depth int) {
	c.values++
	if c.values > maxValues {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		c.object(v, want, at, depth)
	case []any:
		c.items(v, want, at, depth)
	case string:
		c.text(v, want, at, false)
	case json.Number:
		c.number(v, want, at)
	case bool:
		c.wants(Boolean, want, at, "is "+strconv.FormatBool(v))
	default:
		c.check(want == nil, at, "is null; leave it out, or give a value")
	}
}

// tooDeep adds a fault where an object or a list is nested too deep.
func (c *checker) tooDeep(at string, depth int) bool {
	c.check(depth <= maxDepth, at, "is nested more than %d deep", maxDepth)
	return depth > maxDepth
}

func (c *checker) object(members map[string]any, want *form, at string, depth int) {
	if c.tooDeep(at, depth) {
		return
	}
	c.wants(object, want, at, "is an object")
	for _, name := range sortedKeys(members) {
		path := at + step(name)
		if strings.Contains(name, "{{") {
			c.add(path, "has {{ in a name; placeholders stand in values only, so that no parameter can add a field")
			continue
		}
		var inner *form
		if want != nil && want.of == object {
			inner = want.each
			if want.fields != nil {
				if inner = want.fields[name]; inner == nil {
					c.add(path, "is no field here")
					continue
				}
			}
		}
		c.value(members[name], inner, path, depth+1)
	}
}

// items checks a list, in which a list may stand for its items.
func (c *checker) items(items []any, want *form, at string, depth int) {
	if c.tooDeep(at, depth) {
		return
	}
	c.wants(List, want, at, "is a list")
	var inner *form
	if want != nil && want.of == List {
		inner = want.each
	}
	for i, item := range items {
		path := at + "[" + strconv.Itoa(i) + "]"
		if text, ok := item.(string); ok {
			c.values++
			c.text(text, inner, path, true)
		} else {
			c.value(item, inner, path, depth+1)
		}
	}
}

func (c *checker) text(text string, want *form, at string, inList bool) {
	all, err := pieces(text)
	if err != nil {
		c.add(at, "%s", err)
		return
	}
	whole := alone(all)
	for _, p := range all {
		switch declared := c.declared[p.name]; {
		case p.name == "":
		case declared == nil:
			c.add(at, "has {{%s}}, and there is no such parameter%s", p.name, among(c.declared))
			return
		case declared.Type == List && !whole:
			c.add(at, "has {{%s}} inside a text; a list stands alone in a value, or as an item of a list", p.name)
			return
		}
	}
	if !whole {
		c.wants(String, want, at, "is a string")
		return
	}
	p := c.declared[all[0].name]
	kind := p.Type
	if inList || kind != List {
		kind = p.Scalar()
	} else if want != nil && want.of == List {
		// What fills the whole list are items.
		c.wants(p.Scalar(), want.each, at, fmt.Sprintf("gets a list of type %s from parameter %s", p.Scalar(), p.Name))
	}
	c.wants(kind, want, at, fmt.Sprintf("gets type %s from parameter %s", kind, p.Name))
}

func (c *checker) number(number json.Number, want *form, at string) {
	if want == nil {
		return
	}
	_, notWhole := strconv.ParseInt(number.String(), 10, 64)
	_, notNumber := number.Float64()
	kind := Number
	if notWhole == nil {
		kind = Integer
	}
	if notNumber != nil {
		c.add(at, "%s is out of range", shorten(number.String()))
		return
	}
	c.wants(kind, want, at, "is the number "+shorten(number.String()))
}

// wants adds a fault unless a kind of value suits the form.
func (c *checker) wants(kind Type, want *form, at, is string) {
	switch {
	case want == nil, kind == want.of, kind == Choice && want.of == String, kind == Integer && want.of == Number:
	default:
		c.add(at, "%s, and should be %s", is, want)
	}
}
