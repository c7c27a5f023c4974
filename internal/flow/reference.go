package flow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
)

// references finds those in what a step submits: in its parameters, and in a
// manifest that is an object. A manifest that is a text cannot have any: what
// was put in would be read as a part of the text.
func references(field string, submission api.Submission) ([]pipeline.Found, []job.Fault) {
	var found []pipeline.Found
	var faults []job.Fault
	if tree, ok := decode(submission.Manifest); ok {
		at := field + "manifest"
		found, faults = pipeline.References(at, tree)
		if _, isText := tree.(string); isText && len(found)+len(faults) > 0 {
			found, faults = nil, []job.Fault{{Field: at, Message: "is a text, and has references; write the manifest as an object"}}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(submission.Parameters)) {
		if tree, ok := decode(submission.Parameters[name]); ok {
			f, wrong := pipeline.References(field+"parameters."+name, tree)
			found, faults = append(found, f...), append(faults, wrong...)
		}
	}
	return found, faults
}

// filled is a submission with outputs in the place of references. missing
// lists what no step has left.
func filled(p *pipeline.Pipeline, submission api.Submission) (out api.Submission, missing []pipeline.Reference) {
	fill := func(text json.RawMessage) json.RawMessage {
		tree, ok := decode(text)
		if !ok {
			return text
		}
		after, absent := p.Fill(tree)
		missing = append(missing, absent...)
		return encode(after)
	}
	if found, _ := references("", submission); len(found) == 0 {
		return submission, nil
	}
	if submission.Parameters != nil {
		submission.Parameters = maps.Clone(submission.Parameters)
		for name, text := range submission.Parameters {
			submission.Parameters[name] = fill(text)
		}
	}
	if text := bytes.TrimSpace(submission.Manifest); len(text) > 0 && text[0] == '{' {
		submission.Manifest = fill(text)
	}
	return submission, missing
}

func decode(text json.RawMessage) (tree any, ok bool) {
	if len(text) == 0 {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(&tree)
	return tree, err == nil
}

// nameAll is for messages.
func nameAll(missing []pipeline.Reference) string {
	texts := make([]string, len(missing))
	for i, r := range missing {
		texts[i] = fmt.Sprintf("step %s has left no output %s", r.Step, r.Key)
	}
	return strings.Join(texts, ", ")
}
