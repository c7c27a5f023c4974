// Package store is the storage contract: one small interface per consumer,
// each method one atomic and durable operation. There are no transactions in
// it, so that a driver may be a SQLite file or a DynamoDB table. It has no
// implementation; the drivers below it pass the suite in storetest.
//
// What every method promises: when it returns nil, what it wrote survives a
// crash of the process and of the machine; when it returns an error, nothing
// of that item was written, except with ErrUnknown. A cancelled context may
// come too late to prevent a write.
package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// The errors that callers decide on. Drivers wrap them with what was being
// done.
var (
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the record changed since it was read; read it again.
	ErrConflict = errors.New("changed by someone else")
	// ErrKeyReused: the idempotency key belongs to another body.
	ErrKeyReused = errors.New("idempotency key was used with another body")
	// ErrNamespaceFull: the namespace has as many unfinished jobs as it may.
	ErrNamespaceFull = errors.New("namespace is full")
	// ErrStaleSession: the session is not the region's current one.
	ErrStaleSession = errors.New("stale session")
	// ErrOldSequence: a later request of the same session was seen.
	ErrOldSequence = errors.New("old sequence")
	// ErrOtherCluster: a live session of another cluster holds the region.
	ErrOtherCluster = errors.New("region is held by another cluster")
	// ErrUnavailable: the store cannot write now (disk full, throttled);
	// nothing was written, and a later try may succeed.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrThrottled: the store takes less than it is given; nothing was written.
	// To slow down helps.
	ErrThrottled = errors.New("store is throttled")
	// ErrUnknown: the write may or may not have happened.
	ErrUnknown = errors.New("outcome of the write is unknown")
)

// Store is everything that one database holds.
type Store interface {
	Jobs
	Regions
	Events
	Stats
	Tokens
	Templates
	Webhooks
	Outbox
	Pipelines
	Schedules
	Endpoints
	Leases

	// Incarnation identifies this history of the data; a restore makes a new
	// one.
	Incarnation(ctx context.Context) (string, error)
	// Reincarnate makes data that were restored a history of their own: it
	// writes a new incarnation, ends the session of every region that ever had
	// one, and sets AwaitedSince of those. Nobody else may have the data open.
	Reincarnate(ctx context.Context, now time.Time) (incarnation string, err error)
	// Ping makes one durable write, and so tells whether the store works.
	Ping(ctx context.Context) error
	Close() error
}

// Submission is one job to insert.
type Submission struct {
	Job        job.Job
	Transition job.Transition
	Demand     capacity.Demand
	// Manifest is canonical JSON.
	Manifest []byte
	// Key is nil for a submission without an idempotency key.
	Key *IdempotencyKey
	// MaxQueued bounds the jobs of the namespace that are Queued or Placed;
	// 0 is no bound. A store that several processes write to may let in what
	// they took within the last second before the bound was reached.
	MaxQueued int64
}

// IdempotencyKey makes a submission happen once. (Identity, Namespace, Key)
// is unique; BodyHash tells a replay from a misuse.
type IdempotencyKey struct {
	Identity  string
	Namespace string
	Key       string
	BodyHash  string
}

// Inserted is the answer for one Submission.
type Inserted struct {
	// Job is the new record, or on a replay the one that the key made: as it
	// was last, if it has been deleted since.
	Job job.Job
	// Created is false on a replay.
	Created bool
	// Err is nil, ErrKeyReused, ErrNamespaceFull, ErrConflict (the ID is
	// taken), ErrUnavailable, ErrThrottled or ErrUnknown, wrapped.
	Err error
}

// Change is one transition of one job, to be written if the job still has
// the version before it.
type Change struct {
	// Job is the record after the transition; Job.Version-1 must be stored.
	Job        job.Job
	Transition job.Transition
}

// Guard makes writes conditional on the region's session.
type Guard struct {
	Region string
	// Epoch must be the region's.
	Epoch int64
	// Lease must be the region's.
	Lease capacity.Lease
	// Renewals, unless it is 0, must be the region's: no Sync may have come in
	// between.
	Renewals int64
}

// Position is a place in the order of waiting jobs: higher priority first,
// then older ID. A Position without an ID is before every job.
type Position struct {
	Priority int
	ID       job.ID
}

// WaitingClass is a class with jobs that can be placed now.
type WaitingClass struct {
	Class       capacity.Class
	Demand      capacity.Demand
	Constraints job.Constraints
	// Head is the position of its first job, and Since that job's
	// submission.
	Head  Position
	Since time.Time
}

// Promise counts the jobs of one class that were promised to a region and
// that its report cannot show yet: Placed and Claimed.
type Promise struct {
	Region string
	Class  capacity.Class
	Demand capacity.Demand
	Count  int
}

// ListQuery selects jobs. Zero fields do not filter. Order is newest first.
type ListQuery struct {
	Namespaces []string
	States     []job.State
	Region     string
	Labels     map[string]string
	// Template is the name of the template that the job came from, of any
	// version.
	Template string
	// Before continues a list after the last ID of the page before.
	Before job.ID
	Limit  int
}

// Page is one page of a list. More says that Next continues it; a page may be
// short, or empty, and still have more, since a query reads at most 1,000
// records.
type Page struct {
	Jobs []job.Job
	Next job.ID
	More bool
}

// Jobs is the record of every job, for the queue and the server. Jobs returned
// are whole but for the manifest and the demand.
type Jobs interface {
	// Insert writes each submission by itself: job, manifest, key and first
	// transition in one atomic write. The error is nil even where items
	// failed; it is set when nothing could be tried.
	Insert(ctx context.Context, submissions []Submission) ([]Inserted, error)
	// MadeBy returns the job that a key has made, as a replay by Insert does.
	// ErrNotFound: it has made none. ErrKeyReused: it belongs to another body.
	MadeBy(ctx context.Context, key IdempotencyKey) (job.Job, error)
	// Commit writes each change by itself: record, transition and counters in
	// one atomic write. The slice has an error per change: nil, ErrConflict
	// or ErrNotFound. The second error means that nothing was written, such
	// as ErrStaleSession when the guard does not hold. A driver that needs
	// several writes for a long call may find in the middle that the guard
	// holds no more, or that it can't go on: changes from there on then have
	// that error.
	Commit(ctx context.Context, guard *Guard, changes []Change) ([]error, error)
	// SetLogs records where the logs of an attempt are. It is no transition,
	// no later transition of the same attempt undoes it, and it does nothing
	// when the job has gone on to a later attempt.
	SetLogs(ctx context.Context, id job.AttemptID, state job.LogState) error
	// Delete removes terminal jobs with all that hangs on them; one that is
	// not terminal is left alone with ErrConflict, and one with events that
	// Outbox has yet to pass may be with ErrUndispatched. The slice has an error
	// per ID: nil, one of these, or ErrNotFound. Idempotency keys younger than
	// keepKeys stay; every call also removes some that have grown older.
	Delete(ctx context.Context, ids []job.ID, now time.Time, keepKeys time.Duration) ([]error, error)

	Job(ctx context.Context, id job.ID) (job.Job, error)
	// JobsByID returns those that exist, in no order.
	JobsByID(ctx context.Context, ids []job.ID) (map[job.ID]job.Job, error)
	Manifest(ctx context.Context, id job.ID) ([]byte, error)
	Demand(ctx context.Context, class capacity.Class) (capacity.Demand, error)
	// History returns all transitions of a job, oldest first.
	History(ctx context.Context, id job.ID) ([]job.Transition, error)
	List(ctx context.Context, query ListQuery) (Page, error)

	// WaitingClasses lists classes with a Queued job whose NotBefore has
	// passed, ordered by head position, after a position.
	WaitingClasses(ctx context.Context, after Position, limit int) ([]WaitingClass, error)
	// Waiting lists such jobs of one class in order, after a position.
	Waiting(ctx context.Context, class capacity.Class, after Position, limit int) ([]job.Job, error)
	// Wake makes queued jobs placeable whose NotBefore has passed, and
	// returns when the next one will be due (zero: none).
	Wake(ctx context.Context, now time.Time) (next time.Time, err error)
	// Promises sums what regions were promised. It reads counters, never
	// jobs.
	Promises(ctx context.Context) ([]Promise, error)
	// Ahead counts the waiting jobs in front of a position, up to limit.
	Ahead(ctx context.Context, position Position, limit int) (int, error)

	// Placed lists a region's Placed jobs in order, after a position.
	Placed(ctx context.Context, region string, after Position, limit int) ([]job.Job, error)
	// PlacedSince lists jobs in state Placed since before the given time, in
	// any region, oldest first.
	PlacedSince(ctx context.Context, before time.Time, limit int) ([]job.Job, error)
	// Attempts lists a region's active jobs by ID, after an ID.
	Attempts(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error)
	// AttemptsByPriority lists a region's active jobs, highest priority
	// first, that are not sitting out the loss of the region.
	AttemptsByPriority(ctx context.Context, region string, limit int) ([]job.Job, error)
	// Claimed lists a region's Claimed jobs by ID, after an ID.
	Claimed(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error)
	// Unwanted lists a region's active jobs whose intent is not Run, by ID,
	// after an ID.
	Unwanted(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error)
	// Suspended lists jobs that have sat out a lost region for as long as they
	// may: whose WaitEndsAt has come. Earliest first.
	Suspended(ctx context.Context, now time.Time, limit int) ([]job.Job, error)
	// Overdue lists jobs that are not terminal, not already stopping, and
	// whose deadline has passed.
	Overdue(ctx context.Context, now time.Time, limit int) ([]job.Job, error)
	// Expired lists terminal jobs whose record may be removed.
	Expired(ctx context.Context, now time.Time, limit int) ([]job.ID, error)
}

// Renewal is what one Sync writes about its region.
type Renewal struct {
	Region   string
	Session  string
	Epoch    int64
	Sequence int64
	// Snapshot is nil when it has not changed.
	Snapshot *capacity.Snapshot
	// Inventoried is set by the Sync that ends the inventory; it never
	// unsets. The region is not awaited any more then.
	Inventoried bool
	// Unreachable says that the agent cannot reach its cluster.
	Unreachable bool
}

// Regions is the record of every region, for the queue. The snapshots that it
// returns are shared: nobody changes them.
type Regions interface {
	Region(ctx context.Context, name string) (capacity.Region, error)
	// Regions lists all, by name.
	Regions(ctx context.Context) ([]capacity.Region, error)
	// OpenSession makes the region if need be, raises its epoch and writes
	// the event region.opened. A live lease of another cluster:
	// ErrOtherCluster.
	OpenSession(ctx context.Context, region, cluster, session string, now time.Time) (capacity.Region, error)
	// Renew counts a Sync, if session and epoch are current and live
	// (ErrStaleSession) and the sequence is not lower than the last
	// (ErrOldSequence). It is no event.
	Renew(ctx context.Context, renewal Renewal, now time.Time) (capacity.Region, error)
	// ExpireSession marks a live lease lost if epoch and renewals are still
	// what the caller saw, else ErrConflict, and writes the event
	// region.lost.
	ExpireSession(ctx context.Context, region string, epoch, renewals int64, now time.Time) (capacity.Region, error)
	// SetSchedulable sets the operator's flags and writes region.cordoned,
	// region.draining or region.uncordoned when that changes anything.
	SetSchedulable(ctx context.Context, region string, cordoned, draining bool, now time.Time) (capacity.Region, error)
	// WriteOff gives up an awaited region: its lease is lost, it is awaited no
	// more, and the event region.written-off is written. ErrConflict when it is
	// not awaited.
	WriteOff(ctx context.Context, region string, now time.Time) (capacity.Region, error)
	// SetBackoff replaces one back-off of the region; a zero Until removes
	// it. It is no event.
	SetBackoff(ctx context.Context, region, resource string, backoff capacity.Backoff) error
}

// Event is a fact about a job, a region, a webhook, a pipeline or a schedule,
// as subscribers see it.
type Event struct {
	// ID is unique for ever: Subject "/" Number.
	ID string `json:"id"`
	// Cursor orders events in a stream; it has no meaning elsewhere.
	Cursor    int64     `json:"cursor"`
	Type      string    `json:"type"`
	Subject   string    `json:"subject"`
	Number    int64     `json:"number"`
	Namespace string    `json:"namespace,omitempty"`
	At        time.Time `json:"at"`
	// Data is JSON: a job.Transition, or what is called after the kind, such as
	// RegionEvent.
	Data []byte `json:"data"`
}

// RegionEvent is the data of a region's event.
type RegionEvent struct {
	Region  string `json:"region"`
	Epoch   int64  `json:"epoch"`
	Session string `json:"session,omitempty"`
	Cluster string `json:"cluster,omitempty"`
}

// JobSubject is the Subject of a job's events.
func JobSubject(id job.ID) string { return "job/" + string(id) }

// RegionSubject is the Subject of a region's events.
func RegionSubject(name string) string { return "region/" + name }

// EventQuery selects events. Zero fields do not filter.
type EventQuery struct {
	// After is the cursor of the last event seen.
	After      int64
	Namespaces []string
	Subject    string
	// Types are exact, or have one "*" that stands for any text.
	Types []string
	Limit int
}

// Selects tells whether the event is one of those that the query asks for.
func (q EventQuery) Selects(e Event) bool {
	if e.Cursor <= q.After || q.Subject != "" && q.Subject != e.Subject {
		return false
	}
	if len(q.Namespaces) > 0 && !slices.Contains(q.Namespaces, e.Namespace) {
		return false
	}
	return len(q.Types) == 0 || slices.ContainsFunc(q.Types, func(pattern string) bool {
		prefix, suffix, open := strings.Cut(pattern, "*")
		return pattern == e.Type ||
			open && len(e.Type) >= len(prefix)+len(suffix) && strings.HasPrefix(e.Type, prefix) && strings.HasSuffix(e.Type, suffix)
	})
}

// Events is the stream of all transitions in the order of their commits.
type Events interface {
	// Events returns events after the cursor, and the cursor to go on from,
	// which moves even when nothing matched; it reads at most 1,000 records.
	Events(ctx context.Context, query EventQuery) (events []Event, next int64, err error)
	// LastEvent is the cursor of the newest event there ever was; OldestEvent
	// that of the oldest one kept, or LastEvent+1 if none is.
	LastEvent(ctx context.Context) (int64, error)
	OldestEvent(ctx context.Context) (int64, error)
	// PruneRegionEvents removes events that are no job's and older than the
	// time. Those of jobs go with their job.
	PruneRegionEvents(ctx context.Context, before time.Time, limit int) (int, error)
}

// Count is a number of jobs.
type Count struct {
	Namespace string
	// Region is empty for Queued jobs.
	Region string
	State  job.State
	Jobs   int64
}

// Throughput counts transitions into a state within one minute.
type Throughput struct {
	Minute time.Time
	State  job.State
	Jobs   int64
}

// Stats are counters that the writes keep; nothing here scans.
type Stats interface {
	Counts(ctx context.Context) ([]Count, error)
	// Throughput returns the minutes from since on, for Queued (submissions
	// only) and the terminal states. Drivers keep at least a day.
	Throughput(ctx context.Context, since time.Time) ([]Throughput, error)
	// OldestWaiting is when the oldest Queued job was submitted; zero if none
	// waits.
	OldestWaiting(ctx context.Context) (time.Time, error)
}

// Token is a credential, kept as a hash only.
type Token struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Hash is the SHA-256 of the secret, in hex.
	Hash string `json:"hash"`
	Role string `json:"role"`
	// Namespaces limit submitter and viewer; empty is all of them.
	Namespaces []string `json:"namespaces,omitempty"`
	// Region is the one that an agent may speak for.
	Region    string    `json:"region,omitempty"`
	Endpoints []string  `json:"endpoints,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// Tokens is the record of credentials, for the server.
type Tokens interface {
	// CreateToken fails with ErrConflict when the name is taken.
	CreateToken(ctx context.Context, token Token) error
	TokenByHash(ctx context.Context, hash string) (Token, error)
	// Tokens lists all, by name.
	Tokens(ctx context.Context) ([]Token, error)
	DeleteToken(ctx context.Context, id string) error
}

// LeaderLease is the right to run the loops that must run once.
type LeaderLease struct {
	Name   string
	Holder string
	// Renewals grows with every renewal and every change of holder.
	Renewals int64
}

// Leases is the leader's lease. Nobody compares clocks: a lease has ended
// when its Renewals have not grown for its length on the observer's clock.
type Leases interface {
	// LeaderLease returns a zero Holder where none was ever taken.
	LeaderLease(ctx context.Context, name string) (LeaderLease, error)
	// TakeLease renews or takes over the lease if its Renewals are still what
	// the caller saw, else ErrConflict.
	TakeLease(ctx context.Context, name, holder string, renewals int64) (LeaderLease, error)
}
