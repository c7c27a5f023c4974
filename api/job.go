// Package api holds the wire types of GCO's HTTP API, version 1: the contract
// between server, agents, command line and everyone else. It is JSON only and
// has no behaviour. Times are RFC 3339 in UTC; durations are Go's form, such
// as "90s" or "1h30m". Resource counts are whole numbers: cpu in millicores,
// memory and ephemeral-storage in bytes, everything else in pieces.
package api

import (
	"encoding/json"
	"time"
)

// Submission asks for one job.
type Submission struct {
	// Manifest is a Kubernetes Job (batch/v1) as a JSON object, or as a
	// string of YAML or JSON.
	Manifest json.RawMessage `json:"manifest,omitempty"`
	// Template takes the place of Manifest, and Parameters are its values by
	// name. What else the submission says stands above the template's.
	Template   *TemplateRef               `json:"template,omitempty"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	// Namespace is used where the manifest has none; if both are set they
	// must be equal.
	Namespace string            `json:"namespace,omitempty"`
	Priority  *int              `json:"priority,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Placement *Placement        `json:"placement,omitempty"`
	// Model is NAME, NAME@VERSION or NAME@TAG of the model registry. The job
	// keeps the version that this names at the submission.
	Model             string `json:"model,omitempty"`
	Retries           *int   `json:"retries,omitempty"`
	Deadline          string `json:"deadline,omitempty"`
	TTLAfterFinished  string `json:"ttlAfterFinished,omitempty"`
	OnRegionLost      string `json:"onRegionLost,omitempty"`
	OnRegionLostLimit string `json:"onRegionLostLimit,omitempty"`
}

// Placement limits where a job may run.
type Placement struct {
	Regions         []string `json:"regions,omitempty"`
	AvoidRegions    []string `json:"avoidRegions,omitempty"`
	CapacityType    string   `json:"capacityType,omitempty"`
	MaxPricePerHour float64  `json:"maxPricePerHour,omitempty"`
}

// Batch is up to 1,000 submissions, each atomic by itself.
type Batch struct {
	Items []BatchItem `json:"items"`
}

// BatchItem is a submission with its own idempotency key.
type BatchItem struct {
	Submission
	IdempotencyKey string `json:"idempotencyKey,omitempty"`
}

// BatchResult answers each item of a Batch, in its order.
type BatchResult struct {
	Items []BatchItemResult `json:"items"`
}

// BatchItemResult has the status that the item would have had by itself, and
// either the job or the problem.
type BatchItemResult struct {
	Status  int      `json:"status"`
	Job     *Job     `json:"job,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// Job is the record of a job.
type Job struct {
	ID         string            `json:"id"`
	Namespace  string            `json:"namespace"`
	Name       string            `json:"name"`
	State      string            `json:"state" enum:"queued,placed,claimed,pending,running,succeeded,failed,cancelled"`
	Version    int64             `json:"version"`
	Intent     string            `json:"intent" enum:"run,move,stop"`
	StopReason string            `json:"stopReason,omitempty" enum:"cancel,deadline"`
	Priority   int               `json:"priority"`
	Labels     map[string]string `json:"labels,omitempty"`
	Placement  *Placement        `json:"placement,omitempty"`
	// Model is the version of a model that the job reads, as NAME@VERSION.
	Model    string `json:"model,omitempty"`
	Region   string `json:"region,omitempty"`
	Attempt  int    `json:"attempt"`
	Failures int    `json:"failures"`
	Retries  int    `json:"retries"`
	Losses   int    `json:"losses"`
	Releases int    `json:"releases"`
	Moves    int    `json:"moves"`
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	ExitCode *int   `json:"exitCode,omitempty"`
	// Outputs are what the last attempt left in its result file: strings,
	// numbers and booleans by key.
	Outputs map[string]json.RawMessage `json:"outputs,omitempty"`

	OnRegionLost      string `json:"onRegionLost" enum:"requeue,fail,wait"`
	OnRegionLostLimit string `json:"onRegionLostLimit,omitempty"`
	TTLAfterFinished  string `json:"ttlAfterFinished"`
	SubmittedBy       string `json:"submittedBy,omitempty"`
	RetryOf           string `json:"retryOf,omitempty"`
	// Template is what the job was made from; it may be gone since.
	Template *TemplateRef `json:"template,omitempty"`
	Logs     string       `json:"logs" enum:"none,live,archived,partial,lost"`

	SubmittedAt  time.Time  `json:"submittedAt"`
	UpdatedAt    time.Time  `json:"updatedAt"`
	NotBefore    *time.Time `json:"notBefore,omitempty"`
	DeadlineAt   *time.Time `json:"deadlineAt,omitempty"`
	PlacedAt     *time.Time `json:"placedAt,omitempty"`
	ClaimedAt    *time.Time `json:"claimedAt,omitempty"`
	StartedAt    *time.Time `json:"startedAt,omitempty"`
	FinishedAt   *time.Time `json:"finishedAt,omitempty"`
	ExpiresAt    *time.Time `json:"expiresAt,omitempty"`
	RegionLostAt *time.Time `json:"regionLostAt,omitempty"`

	// Manifest, Demand and History are in the answer for a single job only.
	Manifest json.RawMessage `json:"manifest,omitempty"`
	Demand   *Demand         `json:"demand,omitempty"`
	History  []Transition    `json:"history,omitempty"`
}

// Transition is one change in a job's life.
type Transition struct {
	Number   int64     `json:"number"`
	Type     string    `json:"type"`
	Event    string    `json:"event"`
	From     string    `json:"from,omitempty"`
	To       string    `json:"to"`
	At       time.Time `json:"at"`
	Region   string    `json:"region,omitempty"`
	Attempt  int       `json:"attempt,omitempty"`
	Intent   string    `json:"intent,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	ExitCode *int      `json:"exitCode,omitempty"`
	// Outputs are what the attempt left in its result file.
	Outputs map[string]json.RawMessage `json:"outputs,omitempty"`
	// Decision is why the region was chosen, or why none could be; on
	// transitions to placed, and to failed where the job fits nowhere.
	Decision *Decision `json:"decision,omitempty"`
}

// JobList is one page of jobs, newest first.
type JobList struct {
	Items []Job `json:"items"`
	// NextCursor continues the list; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Explanation says why a job is where it is, or why it waits.
type Explanation struct {
	JobID string `json:"jobId"`
	State string `json:"state"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Decision is the one that placed the job or, for a waiting job, what
	// would be decided now.
	Decision *Decision `json:"decision,omitempty"`
	// Ahead counts waiting jobs in front of this one, up to 10,000.
	Ahead *int `json:"ahead,omitempty"`
	// ExpectedStart is an estimate; absent where nothing is known.
	ExpectedStart *time.Time `json:"expectedStart,omitempty"`
}

// Decision is the outcome of one placement.
type Decision struct {
	// Region is the chosen one; empty if none would do.
	Region     string      `json:"region,omitempty"`
	Candidates []Candidate `json:"candidates"`
	Rejections []Rejection `json:"rejections"`
	// Reserved says that capacity is being held for this job.
	Reserved bool `json:"reserved,omitempty"`
	// Omitted counts the regions of a large fleet that are in neither list.
	Omitted int `json:"omitted,omitempty"`
}

// Candidate is a region that would do, with its score from 0 to 1.
type Candidate struct {
	Region string  `json:"region"`
	Score  float64 `json:"score"`
	Terms  []Term  `json:"terms"`
	// PricePerHour is for the whole demand; absent where it is not known.
	PricePerHour *float64 `json:"pricePerHour,omitempty"`
}

// Term is one part of a score: Value from 0 to 1, times Weight.
type Term struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Weight float64 `json:"weight"`
}

// Rejection is a region that will not do, and why.
type Rejection struct {
	Region  string `json:"region"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}
