// Package template turns a parametrised submission into a plain one. It owns
// what a template is, the types of its parameters and the substitution, which
// works on the tree of values: a parameter fills the places that the author
// left for it, and can neither close a quote nor add a field.
//
// It is pure, and it does not judge the result: a rendered manifest is
// compiled by package manifest as any other. The server checks a template
// before it stores it, queue renders it.
package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/gco-project/gco/internal/job"
)

// Limits on a template, all inclusive.
const (
	MaxParameters  = 100
	MaxDescription = 1000
	// MaxSize bounds a template, in bytes of JSON: every store can hold as
	// much in one record.
	MaxSize = 256 << 10
)

// Template is one version of a parametrised submission.
type Template struct {
	Name string `json:"name"`
	// Version counts from 1; every update makes the next one, and a deleted
	// name goes on where it ended.
	Version     int64  `json:"version"`
	Description string `json:"description,omitempty"`

	Parameters []Parameter `json:"parameters,omitempty"`
	// Job is a submission as a JSON object, with placeholders in its values.
	Job json.RawMessage `json:"job,omitempty"`

	// CreatedAt is when the first version was written, or the first one since
	// the name was deleted; UpdatedAt when this one was.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	// UpdatedBy is the identity that wrote this version.
	UpdatedBy string `json:"updatedBy,omitempty"`
}

// namePattern is a DNS label, as for namespaces and regions.
var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Validate returns every fault of a template, with field paths as in the API.
// A template without faults renders for every set of values that its
// parameters allow, within the limits of Render.
func (t Template) Validate() []job.Fault {
	f := &faults{}
	f.check(namePattern.MatchString(t.Name), "name", "%q is not a DNS label (lower-case letters, digits and '-', at most 63)", shorten(t.Name))
	f.check(utf8.RuneCountInString(t.Description) <= MaxDescription, "description", "is longer than %d characters", MaxDescription)
	f.check(len(t.Parameters) <= MaxParameters, "parameters", "%d parameters; at most %d are allowed", len(t.Parameters), MaxParameters)
	if len(f.list) == 0 {
		declared := f.parameters(t.Parameters)
		if tree := f.tree(t.Job); tree != nil {
			f.job(tree, declared)
			f.size(t)
		}
	}
	return f.list
}

// size checks what a store keeps of the template, where some characters take
// more room than in the request.
func (f *faults) size(t Template) {
	text, err := json.Marshal(t)
	if err == nil && len(text) > MaxSize {
		f.add("job", "is %d bytes long with the parameters; at most %d are allowed", len(text), MaxSize)
	}
}

// Same tells whether two templates say the same: who wrote them, when and as
// which version apart.
func (t Template) Same(other Template) bool {
	bare := func(t Template) Template {
		t.Version, t.CreatedAt, t.UpdatedAt, t.UpdatedBy = 0, time.Time{}, time.Time{}, ""
		return t
	}
	return reflect.DeepEqual(generic(bare(t)), generic(bare(other)))
}

// generic is a value as JSON sees it, so that spaces and the order of members
// do not count.
func generic(of any) any {
	text, err := json.Marshal(of)
	if err != nil {
		return err.Error()
	}
	value, err := decode(text)
	if err != nil {
		return err.Error()
	}
	return value
}

// decode reads one JSON value and keeps its numbers as they are written.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the end of the value")
	}
	return value, nil
}
