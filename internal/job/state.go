// Package job holds what a job is: its spec, its record and the one table of
// rules by which the record changes. It is pure: no clock, no storage, no
// network. The queue decides when to apply an event; store keeps the result.
package job

import "slices"

// State is where a job stands. Each constant's comment says who moves a job
// into it.
type State string

// The states of a job.
const (
	// Queued: accepted, waiting for a placement. By queue.Submit, and by every
	// event that gives the job back.
	Queued State = "queued"
	// Placed: promised to a region that has not taken it yet. By queue.Placer.
	Placed State = "placed"
	// Claimed: taken by the region's agent under a new attempt. By queue.Sync.
	Claimed State = "claimed"
	// Pending: the region's runtime holds the attempt, and nothing of it runs
	// yet. By the agent's report.
	Pending State = "pending"
	// Running: at least one container of the attempt runs. By the agent's
	// report.
	Running State = "running"
	// Succeeded: the workload ended well. By the agent's report.
	Succeeded State = "succeeded"
	// Failed: the workload failed for good, or a limit was passed. By the
	// agent's report, queue.Placer or queue.Rescuer.
	Failed State = "failed"
	// Cancelled: a user stopped it. By queue.Cancel, or the agent's report.
	Cancelled State = "cancelled"
)

// States lists every state in the order of a job's life.
var States = []State{Queued, Placed, Claimed, Pending, Running, Succeeded, Failed, Cancelled}

// Valid tells whether s is one of States.
func (s State) Valid() bool { return slices.Contains(States, s) }

// Terminal tells whether s is never left again.
func (s State) Terminal() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Active tells whether an attempt exists that a region answers for.
func (s State) Active() bool { return s == Claimed || s == Pending || s == Running }

// Intent is what should become of the attempt; State is what was observed.
type Intent string

// The intents.
const (
	// Run the job to its end.
	Run Intent = "run"
	// Move: stop the attempt and queue the job again, for another region.
	Move Intent = "move"
	// Stop the attempt for good; StopReason says why.
	Stop Intent = "stop"
)

// StopReason says why a job's intent is Stop, and so what it becomes.
type StopReason string

// The reasons for a stop.
const (
	// ByCancel ends in Cancelled.
	ByCancel StopReason = "cancel"
	// ByDeadline ends in Failed.
	ByDeadline StopReason = "deadline"
)

// LogState says where the logs of a job's last attempt are.
type LogState string

// The states of logs.
const (
	// LogsNone: nothing has run yet.
	LogsNone LogState = "none"
	// LogsLive: the region has them.
	LogsLive LogState = "live"
	// LogsArchived: the control plane has them whole.
	LogsArchived LogState = "archived"
	// LogsPartial: the control plane has a part, and the rest is gone.
	LogsPartial LogState = "partial"
	// LogsLost: the region went before it could ship them.
	LogsLost LogState = "lost"
)
