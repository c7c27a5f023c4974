package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	// Path is the field's path as a reader of the file would say it, for
	// example aws.regions[2]. Empty where the whole file is at fault.
	Path string
	// Where is the place that the value came from, "line 12" or an overlay's
	// source. Empty for defaults and for configurations built in code.
	Where string
	// Message says what is wrong and what would be right.
	Message string
}

// String gives the fault on one line.
func (f Fault) String() string {
	var b strings.Builder
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Message)
	if f.Where != "" {
		b.WriteString(" (" + f.Where + ")")
	}
	return b.String()
}

// Invalid is the error of [Load] and [Config.Validate]: everything that is
// wrong, ordered by path.
type Invalid struct {
	// File is the name of the file, empty for a configuration built in code.
	File   string
	Faults []Fault
}

// Error lists the faults, one a line.
func (e *Invalid) Error() string {
	name := e.File
	if name == "" {
		name = "configuration"
	}
	noun := "faults"
	if len(e.Faults) == 1 {
		noun = "fault"
	}
	lines := []string{fmt.Sprintf("%s: %d %s", name, len(e.Faults), noun)}
	for _, fault := range e.Faults {
		lines = append(lines, "  "+fault.String())
	}
	return strings.Join(lines, "\n")
}

func faultf(path, format string, args ...any) Fault {
	return Fault{Path: path, Message: fmt.Sprintf(format, args...)}
}

func inOrder(faults []Fault) []Fault {
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Path, b.Path) })
	return slices.Compact(faults)
}
