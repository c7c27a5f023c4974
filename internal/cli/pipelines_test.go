package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
)

// graph reads steps such as "a b<a c<a,b:failed".
func graph(text string) []api.Step {
	var steps []api.Step
	for word := range strings.FieldsSeq(text) {
		name, after, _ := strings.Cut(word, "<")
		s := api.Step{Name: name, State: "waiting"}
		for part := range strings.SplitSeq(after, ",") {
			if on, condition, _ := strings.Cut(part, ":"); on != "" {
				s.After = append(s.After, api.Dependency{Step: on, Condition: condition})
			}
		}
		steps = append(steps, s)
	}
	return steps
}

func TestStepTree(t *testing.T) {
	tests := map[string]string{
		"a":                     "a",
		"a b":                   "a|b",
		"a b<a c<b d<a":         "a|├─ b|│  └─ c|└─ d",
		"c<b b<a a d<a e<c,d":   "a|├─ b|│  └─ c|│     └─ e|└─ d",
		"a b<a c<a d<b,c x y<x": "a|├─ b|└─ c|   └─ d|x|└─ y",
	}
	for text, want := range tests {
		var got []string
		for _, line := range stepTree(graph(text)) {
			got = append(got, line.branch+line.step.Name)
		}
		if joined := strings.Join(got, "|"); joined != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, strings.ReplaceAll(joined, "|", "\n"), strings.ReplaceAll(want, "|", "\n"))
		}
	}
}

func TestStepTableOnATerminal(t *testing.T) {
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	end := start.Add(1500 * time.Millisecond)
	p := New(Env{Terminal: true, Width: 100, Clock: testclock.NewFakeClock(start.Add(time.Minute))})
	steps := graph("a b<a c<a:failed,b")
	steps[0].State, steps[0].JobID, steps[0].StartedAt, steps[0].FinishedAt, steps[0].Reason = "succeeded", "j1", &start, &end, "Completed"
	steps[1].State, steps[1].JobID, steps[1].StartedAt, steps[1].JobState = "running", "j2", &start, "queued"
	steps[2].State, steps[2].Message = "skipped", "step a succeeded"
	var text strings.Builder
	p.stepTable(api.Pipeline{Steps: steps}).align(&text, p.Width, false)
	want := `  STEP     STATE      TOOK   JOB  AFTER     WHY
  a        succeeded  1.50s  j1   -         -
  └─ b     running    1m00s  j2   -         its job is queued
     └─ c  skipped    -      -    a failed  step a succeeded
`
	if text.String() != want {
		t.Errorf("%s\nwant\n%s", text.String(), want)
	}
}

func TestOutputsOf(t *testing.T) {
	got := outputsOf(map[string]json.RawMessage{"b": json.RawMessage(`"x y"`), "a": json.RawMessage(`1.50`), "c": json.RawMessage(`true`)})
	if got != "a=1.50, b=x y, c=true" {
		t.Error(got)
	}
}

func TestPipelineOfOne(t *testing.T) {
	quoted := func(text string) json.RawMessage {
		out, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, test := range map[string]struct {
		submission api.Submission
		want       string
	}{
		"a manifest":    {api.Submission{Manifest: quoted("metadata: {name: train, namespace: research}")}, "research/train"},
		"a namespace":   {api.Submission{Namespace: "vision", Manifest: quoted("metadata: {name: train}")}, "vision/train"},
		"a name of DNS": {api.Submission{Manifest: quoted("metadata: {name: train.v2}")}, "/job"},
		"no manifest":   {api.Submission{Manifest: quoted("{")}, "/job"},
		"a template":    {api.Submission{Template: &api.TemplateRef{Name: "sweep"}}, "/sweep"},
	} {
		got := pipelineOfOne(test.submission, dependencies([]string{"j1", "j2:failed"}))
		if got.Namespace+"/"+got.Name != test.want || got.Steps[0].Name != got.Name {
			t.Errorf("%s: %s/%s with step %s", name, got.Namespace, got.Name, got.Steps[0].Name)
		}
		if after := got.Steps[0].After; len(after) != 2 || after[1].Job != "j2" || after[1].Condition != "failed" {
			t.Errorf("%s: after %+v", name, after)
		}
	}
}
