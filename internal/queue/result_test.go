package queue

import (
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

func TestResultsBecomeOutputs(t *testing.T) {
	tests := map[string]struct {
		phase, result, message string
		outputs, says          string
	}{
		"lines":            {phase: "succeeded", result: "loss=0.25\n", outputs: `"0.25"`},
		"JSON":             {phase: "succeeded", result: `{"loss":0.25}`, outputs: `0.25`},
		"of a failure":     {phase: "failed", result: `{"loss":1}`, message: "exit code 1", outputs: `1`, says: "exit code 1"},
		"none":             {phase: "succeeded"},
		"nonsense":         {phase: "succeeded", result: "nonsense", says: "its result file cannot be read: line 1 is not KEY=VALUE"},
		"too long":         {phase: "failed", result: strings.Repeat("x", 1<<20), message: "exit code 1", says: "exit code 1; its result file cannot be read: it is over the limit of 4096 bytes"},
		"before the end":   {phase: "running", result: "loss=0.25"},
		"of what was lost": {phase: "lost", result: "loss=0.25", outputs: `"0.25"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := f.open("east", 1)
			j := f.submit()
			attempt := r.run(j.ID, job.Pending)
			r.request.Observations = []api.Observation{{AttemptRef: ref(attempt), Phase: test.phase, Result: test.result, Message: test.message}}
			r.mustSync()
			got := f.job(j.ID)
			if string(got.Outputs["loss"]) != test.outputs || got.Message != test.says {
				t.Errorf("outputs %s, message %q", got.Outputs, got.Message)
			}
		})
	}
}

// TestOutputsAreThoseOfTheLastAttempt: another attempt begins without any.
func TestOutputsAreThoseOfTheLastAttempt(t *testing.T) {
	f := newFixture(t)
	r := f.open("east", 1)
	j := f.submit()
	attempt := r.run(j.ID, job.Running)
	r.request.Observations = []api.Observation{{AttemptRef: ref(attempt), Phase: "lost", Result: "loss=0.25"}}
	r.mustSync()
	if got := f.wantState(j.ID, job.Queued); len(got.Outputs) != 1 {
		t.Errorf("after the first: %v", got.Outputs)
	}
	r.request.Observations = nil
	r.run(j.ID, job.Running)
	if got := f.job(j.ID); len(got.Outputs) != 0 || got.Attempt != 2 {
		t.Errorf("in attempt %d: %v", got.Attempt, got.Outputs)
	}
}
