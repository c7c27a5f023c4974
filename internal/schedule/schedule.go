// Package schedule holds what a schedule is: a clock that submits a job or a
// pipeline again and again, in one record, and the rules by which that record
// goes on: which ticks are due, what becomes of missed ones, and what is done
// while an earlier run has not ended. It is pure: the time comes as an
// argument, and what is submitted is opaque here. flow asks Advance what to
// do and does it; store keeps the record.
package schedule

import (
	"slices"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
)

// Missed says what becomes of ticks that nobody was there for.
type Missed string

// The policies for missed ticks.
const (
	// MissedOnce: the last one of them runs, late.
	MissedOnce Missed = "once"
	// MissedSkip: none of them runs.
	MissedSkip Missed = "skip"
	// MissedAll: each of them runs, up to the last Spec.MissedLimit.
	MissedAll Missed = "all"
)

// MissedPolicies lists every policy for missed ticks.
var MissedPolicies = []Missed{MissedOnce, MissedSkip, MissedAll}

// Concurrency says what a tick does while an earlier run has not ended.
type Concurrency string

// The policies for runs that would overlap.
const (
	// Forbid: the tick is skipped.
	Forbid Concurrency = "forbid"
	// Allow: it runs beside the other.
	Allow Concurrency = "allow"
	// Replace: the other is cancelled, and the tick runs.
	Replace Concurrency = "replace"
)

// ConcurrencyPolicies lists every policy for runs that would overlap.
var ConcurrencyPolicies = []Concurrency{Forbid, Allow, Replace}

// Spec is what a user says about the clock.
type Spec struct {
	// Cron is the five fields of cron, or one of @hourly, @daily, @weekly,
	// @monthly and @yearly; see ParseCron.
	Cron string `json:"cron"`
	// TimeZone is a name of the IANA database.
	TimeZone string `json:"timeZone"`
	Missed   Missed `json:"missed"`
	// MissedLimit bounds how many missed ticks MissedAll runs.
	MissedLimit int         `json:"missedLimit,omitempty"`
	Concurrency Concurrency `json:"concurrency"`
	Paused      bool        `json:"paused,omitempty"`
}

// Outcome is what became of a tick.
type Outcome string

// The outcomes. All but Starting and Submitted are final.
const (
	// Starting: it is decided that it runs. That is written first, so that
	// whoever goes on after a crash submits the same job, and never a second
	// one.
	Starting Outcome = "starting"
	// Submitted: its job or pipeline exists, and has not been seen to end.
	Submitted Outcome = "submitted"
	// Succeeded, Failed, Cancelled: so its job or pipeline ended.
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
	// Gone: the record of its job or pipeline was removed before anybody saw
	// how it ended.
	Gone Outcome = "gone"
	// Skipped: an earlier run had not ended, or the tick was missed.
	Skipped Outcome = "skipped"
	// Refused: the queue refused the job.
	Refused Outcome = "refused"
)

// Outcomes lists every outcome.
var Outcomes = []Outcome{Starting, Submitted, Succeeded, Failed, Cancelled, Gone, Skipped, Refused}

// Open tells whether the run has not come to its end.
func (o Outcome) Open() bool { return o == Starting || o == Submitted }

// Run is what became of one tick, or of one wish to run now.
type Run struct {
	// ID is unique within the schedule; it makes the idempotency key.
	ID string `json:"id"`
	// Tick is the time that the clock named; zero for a run by hand.
	Tick time.Time `json:"tick,omitzero"`
	// By is who wished to run now; empty for the clock.
	By      string  `json:"by,omitempty"`
	Outcome Outcome `json:"outcome"`
	// TemplateVersion is the version of the template that the job is made of,
	// fixed when the run was decided; 0 where it comes from a manifest.
	TemplateVersion int64 `json:"templateVersion,omitempty"`
	// Job or Pipeline is what was submitted.
	Job      job.ID      `json:"job,omitempty"`
	Pipeline pipeline.ID `json:"pipeline,omitempty"`
	// Reason is a short code, Message a sentence for people.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// At is when it was decided.
	At time.Time `json:"at"`
}

// KeepRuns is how many runs a schedule remembers.
const KeepRuns = 20

// Schedule is the record of one schedule. What it submits is kept beside it,
// in a document that changes with the spec only.
type Schedule struct {
	// UID is new for each schedule that is made, also under an old name.
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Spec      Spec   `json:"spec"`
	// AppliedBy is who last set the spec; its runs are submitted as theirs.
	AppliedBy string `json:"appliedBy,omitempty"`

	// Version counts the changes of the record.
	Version int64 `json:"version"`
	// Event is the type of the event that tells of this version, and News are
	// the runs that it is about, for whoever writes it; an empty Event is none.
	// They are not kept.
	Event string `json:"-"`
	News  []Run  `json:"-"`
	// Since is the time up to which all ticks are decided.
	Since time.Time `json:"since"`
	// Next is the next tick; zero while paused, or if there is none.
	Next time.Time `json:"next,omitzero"`
	// Runs are the last ones, newest first.
	Runs []Run `json:"runs,omitempty"`

	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	// DueAt is when somebody has to look at it; zero is never.
	DueAt time.Time `json:"dueAt,omitzero"`
}

// clone returns a copy whose runs may be changed.
func (s Schedule) clone() Schedule {
	s.Runs = slices.Clone(s.Runs)
	return s
}
