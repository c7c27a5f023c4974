package capacity

import "time"

// Lease is the state of a region's right to act.
type Lease string

// The states of a region's lease.
const (
	// LeaseNone: no agent has opened a session yet.
	LeaseNone Lease = "none"
	// LeaseLive: a session was opened and nobody has seen it end. Moved by
	// queue.Sync.
	LeaseLive Lease = "live"
	// LeaseLost: the session was not renewed in time. Moved by
	// queue.Rescuer; only a new session leads out of it.
	LeaseLost Lease = "lost"
)

// Region is one cluster (or local runtime) and its agent, as the queue knows
// it.
type Region struct {
	Name string `json:"name"`
	// Version counts the writes that are events; it numbers them.
	Version int64 `json:"version"`

	// Cluster identifies what the agent drives; a live session of another
	// cluster keeps the name.
	Cluster string `json:"cluster,omitempty"`
	// Session is one life of the agent, Epoch its number; every new session
	// raises it.
	Session string `json:"session,omitempty"`
	Epoch   int64  `json:"epoch"`
	// Sequence is the highest one that a Sync of this session carried.
	Sequence int64 `json:"sequence"`
	// Renewals grows with each Sync. Whoever watches it grow knows that the
	// session lives, without comparing clocks.
	Renewals int64 `json:"renewals"`
	Lease    Lease `json:"lease"`
	// Inventoried says that this session has sent its complete inventory;
	// until then nothing is started here.
	Inventoried bool `json:"inventoried"`
	// AwaitedSince is set when the data were restored, and unset by the
	// inventory of a session opened since, or by an operator's write-off. While
	// a region is awaited nobody knows what it runs, so nothing starts
	// anywhere.
	AwaitedSince time.Time `json:"awaitedSince,omitzero"`

	Snapshot   Snapshot  `json:"snapshot"`
	SnapshotAt time.Time `json:"snapshotAt,omitzero"`
	// UnreachableSince is set while the agent cannot reach its own cluster.
	UnreachableSince time.Time `json:"unreachableSince,omitzero"`
	OpenedAt         time.Time `json:"openedAt,omitzero"`
	RenewedAt        time.Time `json:"renewedAt,omitzero"`
	LostAt           time.Time `json:"lostAt,omitzero"`

	// Cordoned keeps new work out; Draining also moves away what may move.
	// Both are the operator's.
	Cordoned bool `json:"cordoned"`
	Draining bool `json:"draining"`

	// Backoffs by resource name: what this region lately could not provide.
	Backoffs map[string]Backoff `json:"backoffs,omitempty"`
}

// FailureKind tells capacity failures apart by what to do about them.
type FailureKind string

// The kinds of capacity failure.
const (
	// NoCapacity: not now; another region may have it.
	NoCapacity FailureKind = "no-capacity"
	// NeverFits: no node of this region could ever hold the request.
	NeverFits FailureKind = "never-fits"
	// Quota: the account may not have more; an operator must act.
	Quota FailureKind = "quota"
)

// Backoff keeps placements that need a resource out of a region until it ends.
type Backoff struct {
	Kind     FailureKind `json:"kind"`
	Failures int         `json:"failures"`
	Since    time.Time   `json:"since"`
	Until    time.Time   `json:"until"`
	Message  string      `json:"message,omitempty"`
}
