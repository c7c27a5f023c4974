package runtime

import (
	"context"
	"time"

	"github.com/gco-project/gco/internal/endpoint"
)

// SetID names the replicas of one revision of one endpoint.
type SetID struct {
	Endpoint string
	// UID tells apart endpoints that had the same name one after the other.
	UID      string
	Revision int
}

// ReplicaSet is how many replicas of a revision there should be.
type ReplicaSet struct {
	SetID
	Count     int
	Container endpoint.Container
	// Model is the directory with the files of the container's model; empty where
	// it has none.
	Model string
	// DrainTime is how long a replica that is to go may take to end what it has
	// begun. It is drained all that time, or until it ends by itself.
	DrainTime time.Duration
}

// HeldSet is a set that a runtime holds, with what there is of it.
type HeldSet struct {
	SetID
	// Count is what Scale was last told.
	Count int
	// Replicas are those that exist, by ID, those that drain included.
	Replicas []endpoint.Replica
	// Shortage is set where there are fewer than Count because the cluster has
	// no room for more.
	Shortage *endpoint.Shortage
}

// Replicas is the part of a runtime that runs replicas of endpoints. Not every
// runtime has it. All methods may be called concurrently. Replicas are never
// fenced: they run on, whatever becomes of the agent, and after its restart the
// runtime holds the same sets.
//
// The runtime watches each replica by its health path: one that answers is
// ready, one that has stopped answering is not, and one that stays so, or ends,
// is started again, with pauses that grow.
type Replicas interface {
	// Scale makes the runtime hold a set, and returns as soon as that is
	// durable. Fewer replicas than there are: those that are not ready go first;
	// each drains before it ends. A set of 0 is forgotten once its replicas have
	// gone. The container and drain time of a set that is held are not changed by
	// another Count. *Rejected means never.
	Scale(ctx context.Context, set ReplicaSet) error
	// Sets lists every set that is held, by endpoint, UID and revision. synced is
	// false while the list may still be incomplete (caches).
	Sets(ctx context.Context) (held []HeldSet, synced bool, err error)
	// SetsChanged returns a channel that is signalled (at least once, possibly
	// merged) after Sets would answer differently.
	SetsChanged() <-chan struct{}
}
