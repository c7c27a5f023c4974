package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gco-project/gco/internal/job"
)

// Bounds on what an answer repeats of a hostile manifest.
const (
	maxFaults     = 100
	maxQuoted     = 80
	maxFaultField = 400
)

// faults gathers what is wrong with one manifest, in two lists: what does not
// have the form of a Job (shape), and what a Job may not say (semantic). A
// value of the wrong form is taken out before the second look, so semantic
// faults that follow from its absence are dropped.
type faults struct {
	shape    []job.Fault
	semantic []job.Fault
	// spoiled are the paths of the values that were taken out.
	spoiled []string
	// more: there are faults past maxFaults.
	more bool
}

// add notes a semantic fault.
func (f *faults) add(at *field.Path, format string, args ...any) {
	f.note(&f.semantic, at, format, args...)
}

// addShape notes a fault of form.
func (f *faults) addShape(at *field.Path, format string, args ...any) {
	f.note(&f.shape, at, format, args...)
}

// spoil notes a fault of form whose value is taken out.
func (f *faults) spoil(at *field.Path, format string, args ...any) {
	f.addShape(at, format, args...)
	if len(f.spoiled) < maxFaults {
		f.spoiled = append(f.spoiled, at.String())
	}
}

func (f *faults) note(list *[]job.Fault, at *field.Path, format string, args ...any) {
	if f.full() {
		f.more = true
		return
	}
	*list = append(*list, job.Fault{Field: abbreviated(at.String(), maxFaultField), Message: fmt.Sprintf(format, args...)})
}

// sortFrom orders the semantic faults from an index on, for those that were
// found while going through a map.
func (f *faults) sortFrom(start int) {
	slices.SortFunc(f.semantic[start:], func(a, b job.Fault) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
	})
}

// full tells whether further faults are left out, so that it is of no use to
// look for them.
func (f *faults) full() bool { return len(f.shape)+len(f.semantic) >= maxFaults }

// list is every fault, those of form first.
func (f *faults) list() []job.Fault {
	all := slices.Clone(f.shape)
	for _, fault := range f.semantic {
		if !f.follows(fault) {
			all = append(all, fault)
		}
	}
	if f.more {
		all = append(all, job.Fault{Field: root.String(), Message: fmt.Sprintf("has more faults than the first %d", maxFaults)})
	}
	return all
}

// follows tells whether a semantic fault may only be there because a value
// was taken out. The caps, which are about the spec as a whole, are not of
// that kind: with that value the job would ask for as much or more.
func (f *faults) follows(fault job.Fault) bool {
	return slices.ContainsFunc(f.spoiled, func(path string) bool {
		return within(fault.Field, path) || within(path, fault.Field) && fault.Field != specPath.String()
	})
}

// spoils tells whether a value at, above or below the path was taken out, so
// that nothing can be said of it.
func (f *faults) spoils(at *field.Path) bool {
	if len(f.spoiled) == 0 {
		return false
	}
	path := at.String()
	return slices.ContainsFunc(f.spoiled, func(spoiled string) bool { return within(spoiled, path) || within(path, spoiled) })
}

// within tells whether a path is another or lies in it.
func within(path, other string) bool {
	rest, found := strings.CutPrefix(path, other)
	return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// podCount counts pods in a message.
func podCount(n int64) string {
	if n == 1 {
		return "1 pod"
	}
	return strconv.FormatInt(n, 10) + " pods at the same time"
}

// quoted is text in quotes, short enough for a message.
func quoted[T ~string](text T) string { return strconv.Quote(abbreviated(string(text), maxQuoted)) }

func abbreviated(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	// A cut rune ends in a replacement character.
	return strings.ToValidUTF8(text[:limit], "�") + "…"
}

// didYouMean ends a message about an unknown name with the known one that it
// is most likely a slip of, if there is such a name. Both stand behind the
// prefix.
func didYouMean(prefix, name string, known []string) string {
	name = plainLetters(name)
	best, distance := "", 3
	if len(name) <= 4 {
		distance = 2
	}
	for _, candidate := range known {
		letters := plainLetters(candidate)
		if d := editDistance(name, letters, distance); d < distance {
			best, distance = candidate, d
		}
		if best == "" && len(name) >= 3 && strings.HasPrefix(letters, name) {
			best = candidate
		}
	}
	if best == "" {
		return ""
	}
	return " (did you mean " + prefix + best + "?)"
}

var joints = strings.NewReplacer("-", "", "_", "")

// plainLetters takes away what spellings of one name differ in.
func plainLetters(name string) string {
	return joints.Replace(strings.ToLower(name))
}

// editDistance is Levenshtein's, or limit where it is at least that.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return min(row[len(b)], limit)
}
