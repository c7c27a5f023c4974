package job

import (
	"time"

	"github.com/google/uuid"
)

// ID names a job for ever. It is a UUID of version 7, so IDs sort by the time
// of submission.
type ID string

// NewID returns a fresh ID.
func NewID() ID {
	id, err := uuid.NewV7()
	if err != nil {
		panic("job: the system has no randomness: " + err.Error())
	}
	return ID(id.String())
}

// ParseID checks that text has the form of an ID.
func ParseID(text string) (ID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return "", err
	}
	return ID(id.String()), nil
}

// AttemptID names one attempt of one job.
type AttemptID struct {
	Job     ID  `json:"job"`
	Attempt int `json:"attempt"`
}

// Job is the record of one submission.
type Job struct {
	ID   ID   `json:"id"`
	Spec Spec `json:"spec"`

	State State `json:"state"`
	// Version counts the transitions; transition N made version N.
	Version    int64      `json:"version"`
	Intent     Intent     `json:"intent"`
	StopReason StopReason `json:"stopReason,omitempty"`

	// Region answers for the job from Placed on.
	Region string `json:"region,omitempty"`
	// Attempt is the identity of the last claim; it only grows.
	Attempt int `json:"attempt"`
	// Failures are the workload's own; they alone count against Retries.
	Failures int `json:"failures"`
	Losses   int `json:"losses"`
	Releases int `json:"releases"`
	Moves    int `json:"moves"`

	// Reason is a short code and Message a sentence about the last
	// transition.
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	ExitCode *int   `json:"exitCode,omitempty"`
	// Outputs are what the last attempt left in its result file.
	Outputs Outputs `json:"outputs,omitempty"`

	SubmittedAt time.Time `json:"submittedAt"`
	// NotBefore keeps a queued job from being placed too early.
	NotBefore  time.Time `json:"notBefore,omitzero"`
	DeadlineAt time.Time `json:"deadlineAt,omitzero"`
	PlacedAt   time.Time `json:"placedAt,omitzero"`
	ClaimedAt  time.Time `json:"claimedAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	UpdatedAt  time.Time `json:"updatedAt"`
	// RegionLostAt is set while a job with OnRegionLost Wait sits out the
	// loss of its region.
	RegionLostAt time.Time `json:"regionLostAt,omitzero"`

	Logs LogState `json:"logs"`
}

// New returns the record of a fresh submission and its first transition.
func New(id ID, spec Spec, now time.Time) (Job, Transition) {
	j := Job{
		ID: id, Spec: spec, State: Queued, Version: 1, Intent: Run,
		SubmittedAt: now, UpdatedAt: now, Logs: LogsNone,
	}
	if spec.Deadline > 0 {
		j.DeadlineAt = now.Add(spec.Deadline)
	}
	return j, Transition{
		Job: id, Number: 1, Type: "job.queued", Event: Submitted, To: Queued, At: now,
		Namespace: spec.Namespace, Intent: Run,
	}
}

// AttemptID names the job's current attempt.
func (j Job) AttemptID() AttemptID { return AttemptID{j.ID, j.Attempt} }

// WaitEndsAt is when a job that sits out the loss of its region has done so for
// long enough; one that is to stop anyway need not wait. Zero while it does not
// wait.
func (j Job) WaitEndsAt() time.Time {
	if j.RegionLostAt.IsZero() || j.Intent == Stop {
		return j.RegionLostAt
	}
	return j.RegionLostAt.Add(j.Spec.OnRegionLostLimit)
}

// ExpiresAt is when the record of a finished job may be removed; zero while
// the job is not finished.
func (j Job) ExpiresAt() time.Time {
	if !j.State.Terminal() {
		return time.Time{}
	}
	return j.FinishedAt.Add(j.Spec.TTLAfterFinished)
}
