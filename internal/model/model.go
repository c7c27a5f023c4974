// Package model says what a model is: files of weights under a name and a
// version, as a manifest of chunks that are known by their SHA-256; and how
// people refer to one. It is pure: registry keeps models in a bucket, transfer
// moves them, and cache holds those that a region needs.
package model

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Latest is the word for the newest version.
const Latest = "latest"

// maxVersion is what JSON readers keep exactly.
const maxVersion = 1<<53 - 1

var (
	nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,98}[a-z0-9])?$`)
	tagRule  = regexp.MustCompile(`^[a-z]([a-z0-9._-]{0,61}[a-z0-9])?$`)
)

// ValidName tells whether a model may be called so: lower-case letters,
// digits, '.', '_' and '-', at most 100, with a letter or digit at both ends.
func ValidName(name string) bool { return nameRule.MatchString(name) }

// ValidTag tells whether a tag may be called so. It begins with a letter, so it
// is no version, and is not the word for the newest one.
func ValidTag(tag string) bool { return tagRule.MatchString(tag) && tag != Latest }

// Ref names one version of a model: NAME@3, NAME@prod, or NAME for the newest.
// Of Version and Tag at most one is set.
type Ref struct {
	Name    string
	Version int64
	Tag     string
}

// ParseRef reads a reference as people write it.
func ParseRef(text string) (Ref, error) {
	name, which, found := strings.Cut(text, "@")
	if !ValidName(name) {
		return Ref{}, fmt.Errorf("%q is no name of a model: lower-case letters, digits, '.', '_' and '-' expected, at most 100", name)
	}
	if !found {
		return Ref{Name: name}, nil
	}
	return ref(name, which)
}

// ref reads what stands behind the @.
func ref(name, which string) (Ref, error) {
	if which == Latest {
		return Ref{Name: name}, nil
	}
	if ValidTag(which) {
		return Ref{Name: name, Tag: which}, nil
	}
	version, err := strconv.ParseInt(which, 10, 64)
	if err != nil || version < 1 || version > maxVersion || which[0] == '+' || which[0] == '0' {
		return Ref{}, fmt.Errorf("%q is neither a version of a model, such as 3, nor a tag, such as prod", which)
	}
	return Ref{Name: name, Version: version}, nil
}

// Exact tells whether the reference will always name the same bytes.
func (r Ref) Exact() bool { return r.Version != 0 }

// Which is the part behind the @: a version, a tag, or the word for the
// newest.
func (r Ref) Which() string {
	switch {
	case r.Version != 0:
		return strconv.FormatInt(r.Version, 10)
	case r.Tag != "":
		return r.Tag
	default:
		return Latest
	}
}

// String is the reference as people write it.
func (r Ref) String() string {
	if r.Version == 0 && r.Tag == "" {
		return r.Name
	}
	return r.Name + "@" + r.Which()
}
