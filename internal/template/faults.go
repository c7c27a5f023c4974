package template

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/job"
)

// maxFaults bounds how many faults are told at once.
const maxFaults = 100

// faults gathers what is wrong.
type faults struct{ list []job.Fault }

func (f *faults) add(field, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

func (f *faults) check(ok bool, field, format string, args ...any) {
	if !ok {
		f.add(field, format, args...)
	}
}

// kinds are the words for what a value should be.
var kinds = map[Type]string{
	String: "a string", Choice: "a string", Integer: "a whole number", Number: "a number", Boolean: "true or false", List: "a list",
}

// describe names what a value is.
func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprint(v)
	case string:
		return fmt.Sprintf("the string %q", shorten(v))
	case json.Number:
		return "the number " + shorten(v.String())
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

var plainStep = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// step is a name as a part of a path.
func step(name string) string {
	if plainStep.MatchString(name) && len(name) <= 63 {
		return "." + name
	}
	return "[" + shorten(name) + "]"
}

func shorten(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func sortedKeys[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }
