// Package pipeline holds what a pipeline is: jobs that wait for others, in one
// record, and the rules by which that record goes on. It checks the graph,
// decides which steps may begin, and puts the outputs of earlier steps where
// later ones refer to them. It is pure: no clock, no storage, no network. What
// a step submits is opaque here. flow reads the world, asks Advance what to
// do, and does it; store keeps the record.
package pipeline

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/job"
)

// ID names a pipeline for ever. It is a UUID of version 7, so IDs sort by the
// time of submission.
type ID string

// NewID returns a fresh ID.
func NewID() ID { return ID(job.NewID()) }

// ParseID checks that text has the form of an ID.
func ParseID(text string) (ID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return "", err
	}
	return ID(id.String()), nil
}

// State is where a pipeline stands.
type State string

// The states of a pipeline. All but Running are final, until a retry.
const (
	// Running: some step has not come to its end.
	Running State = "running"
	// Succeeded: no step failed and none was cancelled.
	Succeeded State = "succeeded"
	// Failed: a step failed, or its job was cancelled by itself.
	Failed State = "failed"
	// Cancelled: a user stopped the pipeline.
	Cancelled State = "cancelled"
)

// States lists every state of a pipeline.
var States = []State{Running, Succeeded, Failed, Cancelled}

// Valid tells whether s is one of States.
func (s State) Valid() bool { return slices.Contains(States, s) }

// Terminal tells whether only a retry leaves s.
func (s State) Terminal() bool { return s != Running }

// StepState is where a step stands.
type StepState string

// The states of a step.
const (
	// StepWaiting: its conditions do not hold yet.
	StepWaiting StepState = "waiting"
	// StepStarting: it is decided that its job is to be submitted. That is
	// written first, so that whoever goes on after a crash submits the same
	// job, and never a second one.
	StepStarting StepState = "starting"
	// StepRunning: its job was submitted, and has not ended.
	StepRunning StepState = "running"
	// StepSucceeded, StepFailed, StepCancelled: so its job ended. A step whose
	// job was refused has failed, too.
	StepSucceeded StepState = "succeeded"
	StepFailed    StepState = "failed"
	StepCancelled StepState = "cancelled"
	// StepSkipped: its conditions can never hold, or the pipeline was
	// cancelled first.
	StepSkipped StepState = "skipped"
)

// StepStates lists every state in the order of a step's life.
var StepStates = []StepState{StepWaiting, StepStarting, StepRunning, StepSucceeded, StepFailed, StepCancelled, StepSkipped}

// Terminal tells whether the step has come to its end.
func (s StepState) Terminal() bool {
	return s != StepWaiting && s != StepStarting && s != StepRunning
}

// Condition is what a step waits for of another step, or of a job.
type Condition string

// The conditions.
const (
	// OnSuccess: it succeeded.
	OnSuccess Condition = "succeeded"
	// OnFailure: it failed.
	OnFailure Condition = "failed"
	// OnFinish: whatever became of it, also that it was skipped.
	OnFinish Condition = "finished"
)

// Conditions lists every condition.
var Conditions = []Condition{OnSuccess, OnFailure, OnFinish}

// Dependency is one thing that a step waits for: another step of the
// pipeline, or a job of its own.
type Dependency struct {
	Step      string    `json:"step,omitempty"`
	Job       job.ID    `json:"job,omitempty"`
	Condition Condition `json:"condition"`
	// Ended is how Job ended, once that was seen: its record may go.
	Ended job.State `json:"ended,omitempty"`
}

// Step is one job of a pipeline.
type Step struct {
	Name  string       `json:"name"`
	After []Dependency `json:"after,omitempty"`
	// Wanted names the outputs that other steps refer to.
	Wanted []string `json:"wanted,omitempty"`

	State StepState `json:"state"`
	// Run is the pipeline's run that the step was last part of: with it, each
	// run of a step has an identity of its own.
	Run int `json:"run"`
	// Job is that of this run; Earlier are those of the runs before, newest
	// first, of which only some are kept.
	Job     job.ID   `json:"job,omitempty"`
	Earlier []job.ID `json:"earlier,omitempty"`
	// Outputs holds the Wanted ones, from the end of the job on.
	Outputs job.Outputs `json:"outputs,omitempty"`
	// Reason is a short code, Message a sentence for people: why it failed or
	// was skipped.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Cause is the step whose end is why this one was skipped.
	Cause string `json:"cause,omitempty"`

	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
}

// Pipeline is the record of one submission of steps. What each of them submits
// is kept beside it, in a document that never changes.
type Pipeline struct {
	ID          ID     `json:"id"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	SubmittedBy string `json:"submittedBy,omitempty"`

	// Version counts the changes of the record.
	Version int64 `json:"version"`
	// Event is the type of the event that tells of this version, for whoever
	// writes it; empty is none. It is not kept.
	Event string `json:"-"`
	State State  `json:"state"`
	// Stopping says that a user cancelled it: nothing more begins.
	Stopping bool `json:"stopping,omitempty"`
	// Run counts from 1; each retry begins another one.
	Run   int    `json:"run"`
	Steps []Step `json:"steps"`
	// Message says in a sentence why it failed.
	Message string `json:"message,omitempty"`

	SubmittedAt time.Time `json:"submittedAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
	FinishedAt  time.Time `json:"finishedAt,omitzero"`
	// DueAt is when somebody has to look at it at the latest: soon after a
	// change that calls for work, from time to time while it runs, and after
	// its end when the record may be removed. Never zero.
	DueAt time.Time `json:"dueAt"`
}

// Keep is how long the record of a finished pipeline stays.
const Keep = 7 * 24 * time.Hour

// step returns the index of a step; -1 if there is none of that name.
func (p *Pipeline) step(name string) int {
	return slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == name })
}

// clone returns a copy whose steps may be changed.
func (p Pipeline) clone() Pipeline {
	p.Steps = slices.Clone(p.Steps)
	for i := range p.Steps {
		p.Steps[i].After = slices.Clone(p.Steps[i].After)
	}
	return p
}

// Jobs lists the jobs that have a say in what happens next: those of steps
// that run, and those of others that steps still wait for.
func (p *Pipeline) Jobs() []job.ID {
	var all []job.ID
	for _, s := range p.Steps {
		if s.State == StepRunning {
			all = append(all, s.Job)
		}
		if s.State != StepWaiting {
			continue
		}
		for _, d := range s.After {
			if d.Job != "" && d.Ended == "" {
				all = append(all, d.Job)
			}
		}
	}
	return all
}
