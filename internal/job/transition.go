package job

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Caps on what is not the workload's fault; the one after the cap fails the
// job with the reason.
const (
	MaxLosses   = 20
	MaxReleases = 20
	MaxMoves    = 20
)

// Bounds of the pause after a failure of the workload. It doubles each time.
const (
	firstRetryPause = 5 * time.Second
	maxRetryPause   = 5 * time.Minute
)

// Bounds of the pause before a job goes on that was given back for the second
// time and more often; the first time it goes on at once. It doubles each time:
// else a region that gives everything back would use up the caps above in a
// moment.
const (
	firstReturnPause = time.Second
	maxReturnPause   = 10 * time.Second
)

// EventKind is what happened to a job.
type EventKind string

// The events of a job's life.
const (
	// Submitted is the first event of every job.
	Submitted EventKind = "submitted"
	// Place promises the job to Event.Region.
	Place EventKind = "place"
	// Unplace takes an unclaimed promise back.
	Unplace EventKind = "unplace"
	// Claim gives the job to its region's agent, as a new attempt.
	Claim EventKind = "claim"
	// Applied: the runtime holds the attempt.
	Applied EventKind = "applied"
	// Started: the first container runs.
	Started EventKind = "started"
	// Finished: the workload ended well.
	Finished EventKind = "succeeded"
	// Failure: the workload failed; or, before a claim, the job can never run.
	Failure EventKind = "failed"
	// Released: the runtime gives the attempt back without running it to its
	// end.
	Released EventKind = "released"
	// LostEvent: the attempt is gone.
	LostEvent EventKind = "lost"
	// Stopped: what the intent asked for is done.
	Stopped EventKind = "stopped"
	// StopAsked turns the intent of an active job to Stop.
	StopAsked EventKind = "stop-asked"
	// MoveAsked turns the intent of an active job to Move.
	MoveAsked EventKind = "move-asked"
	// RegionLost starts the wait of a job with OnRegionLost Wait.
	RegionLost EventKind = "region-lost"
	// RegionReturned ends that wait.
	RegionReturned EventKind = "region-returned"
)

// Event is one thing that happened, with what the record keeps of it.
type Event struct {
	Kind EventKind
	// Region is where to, for Place.
	Region string
	// StopReason is why, for StopAsked, and for Stopped before a claim.
	StopReason StopReason
	// Reason is a short code, Message a sentence for people.
	Reason   string
	Message  string
	ExitCode *int
	// Outputs are what the attempt left in its result file; nil is none.
	Outputs Outputs
	// Final says of a LostEvent that nothing may run after it.
	Final bool
	// Decision explains a Place, as JSON.
	Decision json.RawMessage
}

// Rule is one row of the transition table: in any state of From, Event leads
// to one of To; where the two are the same, it keeps the state and changes
// only what is asked of the attempt.
type Rule struct {
	Event EventKind
	From  []State
	To    []State
}

// Targets lists where the rule can lead from a state of its From.
func (r Rule) Targets(from State) []State {
	if slices.Equal(r.From, r.To) {
		return []State{from}
	}
	return r.To
}

var (
	waiting = []State{Queued, Placed}
	active  = []State{Claimed, Pending, Running}
	ended   = []State{Queued, Failed, Cancelled}
)

// Table holds every transition that can happen. Apply refuses all others.
var Table = []Rule{
	{Place, waiting, []State{Placed}},
	{Unplace, []State{Placed}, []State{Queued}},
	{Claim, []State{Placed}, []State{Claimed}},
	{Applied, []State{Claimed}, []State{Pending}},
	{Started, []State{Claimed, Pending}, []State{Running}},
	{Finished, active, []State{Succeeded}},
	{Failure, waiting, []State{Failed}},
	{Failure, active, ended},
	{Released, active, ended},
	{LostEvent, active, ended},
	{Stopped, waiting, []State{Cancelled, Failed}},
	{Stopped, active, ended},
	{StopAsked, active, active},
	{MoveAsked, active, active},
	{RegionLost, active, active},
	{RegionReturned, active, active},
}

// Transition is the record of one change: history row and event in one.
type Transition struct {
	Job       ID              `json:"job"`
	Number    int64           `json:"number"`
	Type      string          `json:"type"`
	Event     EventKind       `json:"event"`
	From      State           `json:"from,omitempty"`
	To        State           `json:"to"`
	At        time.Time       `json:"at"`
	Namespace string          `json:"namespace,omitempty"`
	Region    string          `json:"region,omitempty"`
	Attempt   int             `json:"attempt,omitempty"`
	Intent    Intent          `json:"intent,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Message   string          `json:"message,omitempty"`
	ExitCode  *int            `json:"exitCode,omitempty"`
	Outputs   Outputs         `json:"outputs,omitempty"`
	Decision  json.RawMessage `json:"decision,omitempty"`
}

// NotAllowed is the error for an event that the table does not have in the
// job's state.
type NotAllowed struct {
	Job   ID
	State State
	Event EventKind
}

func (e *NotAllowed) Error() string {
	return fmt.Sprintf("job %s is %s: %s is not possible", e.Job, e.State, e.Event)
}

// Allowed tells whether the table has the event in the state.
func Allowed(state State, event EventKind) bool {
	return slices.ContainsFunc(Table, func(r Rule) bool {
		return r.Event == event && slices.Contains(r.From, state)
	})
}

// Apply returns the job after the event, and the transition to record with
// it. It returns *NotAllowed where the table has no such rule. The receiver
// is not changed.
func (j Job) Apply(e Event, now time.Time) (Job, Transition, error) {
	if !Allowed(j.State, e.Kind) || !j.admits(e) {
		return Job{}, Transition{}, &NotAllowed{j.ID, j.State, e.Kind}
	}
	before := j
	j.Version++
	j.UpdatedAt = now
	j.Reason, j.Message = e.Reason, e.Message
	if e.ExitCode != nil {
		j.ExitCode = e.ExitCode
	}
	if len(e.Outputs) > 0 {
		j.Outputs = e.Outputs
	}
	j = j.after(e, now)
	if j.State.Terminal() {
		j.FinishedAt, j.RegionLostAt = now, time.Time{}
	}
	t := Transition{
		Job: j.ID, Number: j.Version, Event: e.Kind, From: before.State, To: j.State, At: now,
		Namespace: j.Spec.Namespace, Region: j.Region, Attempt: j.Attempt, Intent: j.Intent,
		Reason: j.Reason, Message: j.Message, ExitCode: e.ExitCode, Outputs: e.Outputs, Decision: e.Decision,
	}
	if t.Region == "" {
		t.Region = before.Region
	}
	t.Type = typeOf(t)
	return j, t, nil
}

// admits holds the rules that look at the intent too: nothing is stopped that
// nobody asked to stop, and nothing takes a cancel back.
func (j Job) admits(e Event) bool {
	switch e.Kind {
	case Stopped:
		return !j.State.Active() || j.Intent != Run
	case MoveAsked:
		return j.Intent != Stop
	case StopAsked:
		return j.Intent != Stop || e.StopReason == ByCancel
	default:
		return true
	}
}

// after holds the rules of the table: what each event does to the record.
func (j Job) after(e Event, now time.Time) Job {
	switch e.Kind {
	case Place:
		j.State, j.Region, j.PlacedAt = Placed, e.Region, now
	case Unplace:
		return j.requeued()
	case Claim:
		j.State, j.ClaimedAt, j.Attempt, j.Logs = Claimed, now, j.Attempt+1, LogsNone
		j.ExitCode, j.Outputs = nil, nil
	case Applied:
		j.State, j.Logs, j.RegionLostAt = Pending, LogsLive, time.Time{}
	case Started:
		j.State, j.StartedAt, j.Logs, j.RegionLostAt = Running, now, LogsLive, time.Time{}
	case Finished:
		j.State = Succeeded
		j.Logs = LogsLive
	case Failure:
		return j.afterFailure(now)
	case Released:
		if j.Intent == Stop {
			return j.stopped(now)
		}
		j.Releases++
		return j.givenBack("released", j.Releases, MaxReleases, now)
	case LostEvent:
		return j.afterLoss(e.Final, now)
	case Stopped:
		if !j.State.Active() {
			j.Intent, j.StopReason = Stop, e.StopReason
		}
		return j.stopped(now)
	case StopAsked:
		j.Intent, j.StopReason = Stop, e.StopReason
	case MoveAsked:
		j.Intent = Move
	case RegionLost:
		j.RegionLostAt = now
	case RegionReturned:
		j.RegionLostAt = time.Time{}
	}
	return j
}

func (j Job) afterFailure(now time.Time) Job {
	if !j.State.Active() {
		j.State = Failed
		return j
	}
	if j.State != Claimed {
		// What fails before it was applied was refused, and wrote nothing. If
		// it did run, its logs show when they are archived.
		j.Logs = LogsLive
	}
	if j.Intent == Stop {
		return j.stopped(now)
	}
	j.Failures++
	if j.Failures > j.Spec.Retries {
		j.State = Failed
		return j
	}
	j = j.requeued()
	j.NotBefore = now.Add(doubled(firstRetryPause, j.Failures, maxRetryPause))
	return j
}

func (j Job) afterLoss(final bool, now time.Time) Job {
	j.Logs = LogsLost
	if j.Intent == Stop {
		return j.stopped(now)
	}
	if final || j.Spec.OnRegionLost == Fail {
		j.State = Failed
		return j
	}
	j.Losses++
	return j.givenBack("lost", j.Losses, MaxLosses, now)
}

// stopped is where an attempt ends whose intent was not to run on.
func (j Job) stopped(now time.Time) Job {
	switch {
	case j.Intent == Move:
		j.Moves++
		return j.givenBack("moved", j.Moves, MaxMoves, now)
	case j.StopReason == ByDeadline:
		j.State, j.Reason = Failed, "deadline"
		if j.Message == "" {
			j.Message = fmt.Sprintf("not finished within %s of the submission", j.Spec.Deadline)
		}
	default:
		j.State = Cancelled
	}
	return j
}

// givenBack queues the job again, unless that has happened too often.
func (j Job) givenBack(what string, times, limit int, now time.Time) Job {
	if times > limit {
		j.State, j.Reason = Failed, "too-often-"+what
		j.Message = fmt.Sprintf("%s %d times, which is over the limit of %d; last: %s", what, times, limit, j.Message)
		return j
	}
	j = j.requeued()
	if times > 1 {
		j.NotBefore = now.Add(doubled(firstReturnPause, times-1, maxReturnPause))
	}
	return j
}

func (j Job) requeued() Job {
	j.State, j.Intent, j.StopReason, j.Region = Queued, Run, "", ""
	j.PlacedAt, j.ClaimedAt, j.StartedAt = time.Time{}, time.Time{}, time.Time{}
	j.RegionLostAt, j.NotBefore = time.Time{}, time.Time{}
	return j
}

// doubled is the pause after so many times: first, and twice as long each time.
func doubled(first time.Duration, times int, most time.Duration) time.Duration {
	pause := first
	for i := 1; i < times && pause < most; i++ {
		pause *= 2
	}
	return min(pause, most)
}

// typeOf names the event for subscribers: the new state, or for a change of
// intent what has begun.
func typeOf(t Transition) string {
	switch t.Event {
	case StopAsked:
		return "job.stopping"
	case MoveAsked:
		return "job.moving"
	case RegionLost, RegionReturned:
		return "job." + string(t.Event)
	default:
		return "job." + string(t.To)
	}
}
