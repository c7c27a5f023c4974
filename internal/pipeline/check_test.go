package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/job"
)

// steps reads a graph such as "a b<a c<a,b:failed".
func steps(graph string) []Step {
	var all []Step
	for word := range strings.FieldsSeq(graph) {
		name, after, _ := strings.Cut(word, "<")
		s := Step{Name: name, State: StepWaiting}
		for part := range strings.SplitSeq(after, ",") {
			if part == "" {
				continue
			}
			on, condition, found := strings.Cut(part, ":")
			if !found {
				condition = "succeeded"
			}
			d := Dependency{Step: on, Condition: Condition(condition)}
			if id, isJob := strings.CutPrefix(on, "job/"); isJob {
				d.Step, d.Job = "", job.ID(id)
			}
			s.After = append(s.After, d)
		}
		all = append(all, s)
	}
	return all
}

func lines(faults []job.Fault) []string {
	var all []string
	for _, f := range faults {
		all = append(all, f.Field+": "+f.Message)
	}
	return all
}

func TestCheck(t *testing.T) {
	tests := map[string][]string{
		"a b<a c<a,b:failed d<job/x:finished": nil,
		"":                                    {"steps: is empty; a pipeline needs at least one step"},
		"a a":                                 {`steps[1].name: "a" is the name of steps[0], too`},
		"A":                                   {`steps[0].name: "A" is not a DNS label: lower-case letters, digits and -, at most 63`},
		"a b<x":                               {`steps[1].after[0].step: there is no step "x"`},
		"a b<b":                               {`steps[1].after[0].step: "b" waits for itself`},
		"a b<a,a:failed":                      {`steps[1].after[1]: names "a" a second time`},
		"a b<a:maybe":                         {`steps[1].after[0].condition: "maybe" is not one of succeeded, failed, finished`},
		"a<b b<a":                             {"steps[1].after[0]: closes a circle in which each step waits for the next: a -> b -> a"},
		"x a<c b<a c<x,b d<c": {
			"steps[2].after[0]: closes a circle in which each step waits for the next: a -> c -> b -> a",
		},
		"a<b b<a c<d d<c e<x A<a": {
			`steps[4].after[0].step: there is no step "x"`,
			`steps[5].name: "A" is not a DNS label: lower-case letters, digits and -, at most 63`,
			"steps[1].after[0]: closes a circle in which each step waits for the next: a -> b -> a",
			"steps[3].after[0]: closes a circle in which each step waits for the next: c -> d -> c",
		},
	}
	for graph, want := range tests {
		got := lines(Check(steps(graph)))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", graph, got, want)
		}
	}
	for name, s := range map[string]Step{
		"names neither a step nor a job":           {Name: "a", After: []Dependency{{Condition: OnSuccess}}},
		"names a step and a job; name one of them": {Name: "a", After: []Dependency{{Step: "a", Job: "j", Condition: OnSuccess}}},
		`steps[0].name: is empty`:                  {},
	} {
		if got := strings.Join(lines(Check([]Step{s})), "\n"); !strings.Contains(got, name) {
			t.Errorf("%q is not in %q", name, got)
		}
	}
}

func TestCheckBounds(t *testing.T) {
	many := func(n int) []Step {
		all := make([]Step, n)
		for i := range all {
			all[i] = Step{Name: fmt.Sprintf("s%d", i)}
		}
		return all
	}
	if faults := Check(many(MaxSteps)); len(faults) > 0 {
		t.Errorf("as many steps as are allowed: %v", faults)
	}
	if faults := lines(Check(many(MaxSteps + 1))); len(faults) != 1 || !strings.Contains(faults[0], "at most 100") {
		t.Errorf("too many steps: %q", faults)
	}
	dense := many(MaxSteps)
	for i := range dense {
		for k := range i {
			dense[i].After = append(dense[i].After, Dependency{Step: dense[k].Name, Condition: OnSuccess})
		}
	}
	if faults := lines(Check(dense)); len(faults) != 1 || !strings.Contains(faults[0], "4950 dependencies") {
		t.Errorf("too many dependencies: %q", faults)
	}
	wide := many(MaxSources + 2)
	var found []Found
	for i := range MaxSources + 1 {
		wide[MaxSources+1].After = append(wide[MaxSources+1].After, Dependency{Step: wide[i].Name, Condition: OnSuccess})
		found = append(found, Found{fmt.Sprint("f", i), Reference{wide[i].Name, "k"}}, Found{"again", Reference{wide[0].Name, "l"}})
	}
	if faults := lines(Resolve(wide, MaxSources+1, found)); len(faults) != 1 || !strings.HasPrefix(faults[0], "f32: refers to one step more than the 32") {
		t.Errorf("too many sources: %q", faults)
	}
	two := steps("a b<a")
	found = nil
	for i := range MaxWanted + 1 {
		found = append(found, Found{fmt.Sprint("f", i), Reference{"a", fmt.Sprint("k", i)}})
	}
	found = append(found, found[0])
	if faults := lines(Resolve(two, 1, found)); len(faults) != 1 || !strings.HasPrefix(faults[0], "f200: refers to one output more than the 200") {
		t.Errorf("too many outputs: %q", faults)
	}
}
