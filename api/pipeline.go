package api

import (
	"encoding/json"
	"time"
)

// NewPipeline asks for jobs that wait for others.
type NewPipeline struct {
	// Kind may say Pipeline, as a document in a file does.
	Kind string `json:"kind,omitempty" enum:"Pipeline"`
	// Name is a DNS label; it need not be unique.
	Name string `json:"name"`
	// Namespace is that of every job; default if absent.
	Namespace string    `json:"namespace,omitempty"`
	Steps     []NewStep `json:"steps"`
}

// NewStep is a Submission with a name and what it waits for. The texts of its
// parameters, and of a manifest that is an object, may refer to what an
// earlier step left, as {{steps.NAME.outputs.KEY}}.
type NewStep struct {
	// Name is a DNS label, unique within the pipeline.
	Name string `json:"name"`
	// After lists what has to be before the step begins; nothing is at once.
	After []Dependency `json:"after,omitempty"`
	Submission
}

// Dependency is a step of the same pipeline, or a job of its own.
type Dependency struct {
	Step string `json:"step,omitempty"`
	// Job is the ID of a job.
	Job string `json:"job,omitempty"`
	// Condition is succeeded if absent. Finished is whatever became of it.
	Condition string `json:"condition,omitempty" enum:"succeeded,failed,finished"`
}

// Pipeline is the record of a pipeline.
type Pipeline struct {
	ID          string `json:"id"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	State       string `json:"state" enum:"running,succeeded,failed,cancelled"`
	SubmittedBy string `json:"submittedBy,omitempty"`
	Version     int64  `json:"version"`
	// Stopping says that it was cancelled, and that not all of its jobs have
	// stopped.
	Stopping bool `json:"stopping,omitempty"`
	// Run counts from 1; each retry begins another one.
	Run int `json:"run"`
	// Message says why it failed.
	Message     string     `json:"message,omitempty"`
	Steps       []Step     `json:"steps"`
	SubmittedAt time.Time  `json:"submittedAt"`
	UpdatedAt   time.Time  `json:"updatedAt"`
	FinishedAt  *time.Time `json:"finishedAt,omitempty"`
	// ExpiresAt is when the record is removed.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// Definition is a NewPipeline, with the versions of its templates; in the
	// answer for a single pipeline only.
	Definition json.RawMessage `json:"definition,omitempty"`
}

// Step is where a step of a pipeline stands.
type Step struct {
	Name  string       `json:"name"`
	After []Dependency `json:"after,omitempty"`
	State string       `json:"state" enum:"waiting,starting,running,succeeded,failed,cancelled,skipped"`
	// Run is the pipeline's run that it was last part of.
	Run int `json:"run,omitempty"`
	// JobID is the job of that run, and JobState where that is; EarlierJobs
	// are those of runs before, newest first.
	JobID       string   `json:"jobId,omitempty"`
	JobState    string   `json:"jobState,omitempty" enum:"queued,placed,claimed,pending,running,succeeded,failed,cancelled"`
	EarlierJobs []string `json:"earlierJobs,omitempty"`
	// Outputs are those that other steps refer to.
	Outputs map[string]json.RawMessage `json:"outputs,omitempty"`
	Reason  string                     `json:"reason,omitempty"`
	Message string                     `json:"message,omitempty"`
	// Cause is the step whose end is why this one was skipped.
	Cause      string     `json:"cause,omitempty"`
	StartedAt  *time.Time `json:"startedAt,omitempty"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
}

// PipelineEvent is the data of a pipeline's event.
type PipelineEvent struct {
	Pipeline string `json:"pipeline"`
	Name     string `json:"name"`
	Version  int64  `json:"version"`
	State    string `json:"state" enum:"running,succeeded,failed,cancelled"`
	// Run counts from 1; each retry begins another one.
	Run int `json:"run"`
	// Message says why it failed.
	Message string `json:"message,omitempty"`
}

// PipelineList is one page of pipelines, newest first.
type PipelineList struct {
	Items []Pipeline `json:"items"`
	// NextCursor continues the list; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}
