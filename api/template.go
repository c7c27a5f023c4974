package api

import (
	"encoding/json"
	"time"
)

// Template is one version of a parametrised submission.
type Template struct {
	Name string `json:"name"`
	// Version counts from 1 and is the ETag, too. Every update makes the next
	// one, and a name that was deleted goes on where it ended.
	Version     int64  `json:"version"`
	Description string `json:"description,omitempty"`
	// Parameters and Job are not in lists.
	Parameters []Parameter     `json:"parameters,omitempty"`
	Job        json.RawMessage `json:"job,omitempty"`
	CreatedAt  time.Time       `json:"createdAt"`
	UpdatedAt  time.Time       `json:"updatedAt"`
	// UpdatedBy is the name of the token that wrote this version.
	UpdatedBy string `json:"updatedBy,omitempty"`
}

// NewTemplate is what somebody writes of a Template.
type NewTemplate struct {
	// Name is a DNS label. An update may leave it out.
	Name        string      `json:"name,omitempty"`
	Description string      `json:"description,omitempty"`
	Parameters  []Parameter `json:"parameters,omitempty"`
	// Job is a Submission as a JSON object, where texts may hold
	// placeholders, such as {{gpus}}. Its manifest is an object, too.
	Job json.RawMessage `json:"job"`
}

// Parameter is a value that a submission gives to a template. The limits hold
// for every item where it is a list.
type Parameter struct {
	// Name is a letter and then letters, digits, "_" and "-".
	Name        string `json:"name"`
	Type        string `json:"type" enum:"string,integer,number,boolean,choice,list"`
	Description string `json:"description,omitempty"`
	// Required parameters must be given. A parameter that is not, and has no
	// default, leaves its place empty.
	Required bool            `json:"required,omitempty"`
	Default  json.RawMessage `json:"default,omitempty"`
	// Pattern is a regular expression (RE2) that the whole string must match.
	Pattern string `json:"pattern,omitempty"`
	// MinLength and MaxLength bound a string, in characters.
	MinLength int `json:"minLength,omitempty"`
	MaxLength int `json:"maxLength,omitempty"`
	// Minimum and Maximum bound an integer or a number, inclusive.
	Minimum *float64 `json:"minimum,omitempty"`
	Maximum *float64 `json:"maximum,omitempty"`
	// Choices are the strings that a choice may be.
	Choices []string `json:"choices,omitempty"`
	// Items is the type of a list's items; string if absent.
	Items string `json:"items,omitempty" enum:"string,integer,number,boolean,choice"`
	// MinItems and MaxItems bound a list.
	MinItems int `json:"minItems,omitempty"`
	MaxItems int `json:"maxItems,omitempty"`
}

// TemplateList is one page of templates by name, or of the versions of one
// template, newest first; without their parameters and job.
type TemplateList struct {
	Items []Template `json:"items"`
	// NextCursor continues the list; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}

// TemplateRef names a template, and one version of it.
type TemplateRef struct {
	Name string `json:"name"`
	// Version is the newest one if a submission leaves it out.
	Version int64 `json:"version,omitempty"`
}

// Rendering is what a template and its parameters make.
type Rendering struct {
	Template TemplateRef `json:"template"`
	// Submission is what would be submitted, with every default. Its manifest
	// is the one that a region would get.
	Submission Submission `json:"submission"`
	Demand     Demand     `json:"demand"`
}
