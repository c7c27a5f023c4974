package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/job"
)

// Limits on a pipeline, all inclusive. Together they keep the record well
// below what a store takes.
const (
	MaxSteps = 100
	// MaxDependencies bounds those of all steps together.
	MaxDependencies = 1000
	// MaxSources bounds the steps whose outputs others refer to, and MaxWanted
	// those outputs.
	MaxSources = 32
	MaxWanted  = 200
)

// label is Kubernetes' rule for the names of labels (RFC 1123).
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// ValidName tells whether name can name a step, a pipeline or a schedule: a
// DNS label.
func ValidName(name string) bool { return label.MatchString(name) }

// Check finds everything that is wrong with the names and dependencies of
// steps, each fault with its field, such as "steps[2].after[0].step".
func Check(steps []Step) []job.Fault {
	c := &checker{steps: steps, index: map[string]int{}}
	switch {
	case len(steps) == 0:
		c.fault("steps", "is empty; a pipeline needs at least one step")
	case len(steps) > MaxSteps:
		c.fault("steps", "has %d steps; at most %d are allowed", len(steps), MaxSteps)
		return c.faults
	}
	c.names()
	c.dependencies()
	c.cycles()
	return c.faults
}

type checker struct {
	steps  []Step
	index  map[string]int
	faults []job.Fault
}

func (c *checker) fault(field, format string, args ...any) {
	c.faults = append(c.faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) names() {
	for i, s := range c.steps {
		field := fmt.Sprintf("steps[%d].name", i)
		first, taken := c.index[s.Name]
		switch {
		case s.Name == "":
			c.fault(field, "is empty")
		case !ValidName(s.Name):
			c.fault(field, "%q is not a DNS label: lower-case letters, digits and -, at most 63", shorten(s.Name))
		case taken:
			c.fault(field, "%q is the name of steps[%d], too", s.Name, first)
		}
		if !taken {
			c.index[s.Name] = i
		}
	}
}

func (c *checker) dependencies() {
	total := 0
	for i, s := range c.steps {
		total += len(s.After)
		for k, d := range s.After {
			field := fmt.Sprintf("steps[%d].after[%d]", i, k)
			c.dependency(field, s, d)
			if slices.ContainsFunc(s.After[:k], func(e Dependency) bool { return e.Step == d.Step && e.Job == d.Job }) {
				c.fault(field, "names %q a second time", shorten(d.Step+string(d.Job)))
			}
		}
	}
	if total > MaxDependencies {
		c.fault("steps", "have %d dependencies; at most %d are allowed", total, MaxDependencies)
	}
}

func (c *checker) dependency(field string, s Step, d Dependency) {
	_, known := c.index[d.Step]
	switch {
	case d.Step == "" && d.Job == "":
		c.fault(field, "names neither a step nor a job")
	case d.Step != "" && d.Job != "":
		c.fault(field, "names a step and a job; name one of them")
	case d.Step != "" && !known:
		c.fault(field+".step", "there is no step %q", shorten(d.Step))
	case d.Step != "" && d.Step == s.Name:
		c.fault(field+".step", "%q waits for itself", d.Step)
	}
	if !slices.Contains(Conditions, d.Condition) {
		c.fault(field+".condition", "%q is not one of %s", shorten(string(d.Condition)), list(Conditions))
	}
}

// cycles reports each dependency that closes a circle, with the way around.
func (c *checker) cycles() {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(c.steps))
	var path []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = open
		path = append(path, i)
		for k, d := range c.steps[i].After {
			next, known := c.index[d.Step]
			if d.Step == "" || !known || next == i {
				continue
			}
			switch state[next] {
			case unseen:
				visit(next)
			case open:
				around := slices.Concat(path[slices.Index(path, next):], []int{next})
				c.fault(fmt.Sprintf("steps[%d].after[%d]", i, k), "closes a circle in which each step waits for the next: %s", c.way(around))
			}
		}
		path = path[:len(path)-1]
		state[i] = done
	}
	for i := range c.steps {
		if state[i] == unseen {
			visit(i)
		}
	}
}

func (c *checker) way(path []int) string {
	names := make([]string, len(path))
	for i, step := range path {
		names[i] = c.steps[step].Name
	}
	return strings.Join(names, " -> ")
}

// waitsFor tells whether a step waits for another one, directly or through
// others.
func waitsFor(steps []Step, step, other string) bool {
	seen := map[string]bool{}
	todo := []string{step}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		i := slices.IndexFunc(steps, func(s Step) bool { return s.Name == name })
		if i < 0 || seen[name] {
			continue
		}
		seen[name] = true
		for _, d := range steps[i].After {
			if d.Step == other {
				return true
			}
			if d.Step != "" {
				todo = append(todo, d.Step)
			}
		}
	}
	return false
}

func list[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return strings.Join(texts, ", ")
}

// shorten keeps a message readable whatever was sent.
func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
