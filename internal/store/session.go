package store

import (
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
)

// What the methods of Regions change of a record, said once for all drivers.
// An error leaves the record as it was.

// The types of a region's events.
const (
	EventRegionOpened     = "region.opened"
	EventRegionLost       = "region.lost"
	EventRegionWrittenOff = "region.written-off"
	EventRegionCordoned   = "region.cordoned"
	EventRegionDraining   = "region.draining"
	EventRegionUncordoned = "region.uncordoned"
)

// OpenSession gives the region to a new session; ErrOtherCluster. What is known
// of another cluster's nodes is not this one's: a driver that keeps the
// snapshot apart forgets it where the cluster changes.
func OpenSession(r *capacity.Region, cluster, session string, now time.Time) error {
	if r.Lease == capacity.LeaseLive && r.Cluster != cluster {
		return fmt.Errorf("%w: it is %s", ErrOtherCluster, r.Cluster)
	}
	if r.Cluster != cluster {
		r.SnapshotAt = time.Time{}
	}
	r.Cluster, r.Session, r.Lease = cluster, session, capacity.LeaseLive
	r.Epoch++
	r.Renewals++
	r.Sequence, r.Inventoried = 0, false
	r.OpenedAt, r.RenewedAt = now.UTC(), now.UTC()
	r.LostAt, r.UnreachableSince = time.Time{}, time.Time{}
	return nil
}

// Apply counts the renewal; ErrStaleSession, ErrOldSequence. The driver keeps
// the snapshot.
func (n *Renewal) Apply(r *capacity.Region, now time.Time) error {
	if r.Lease != capacity.LeaseLive || r.Session != n.Session || r.Epoch != n.Epoch {
		return fmt.Errorf("%w: it is epoch %d with a lease that is %s", ErrStaleSession, r.Epoch, r.Lease)
	}
	if n.Sequence < r.Sequence {
		return fmt.Errorf("%w: %d came after %d", ErrOldSequence, n.Sequence, r.Sequence)
	}
	r.Sequence = n.Sequence
	r.Renewals++
	r.RenewedAt = now.UTC()
	if n.Inventoried {
		r.Inventoried, r.AwaitedSince = true, time.Time{}
	}
	switch {
	case !n.Unreachable:
		r.UnreachableSince = time.Time{}
	case r.UnreachableSince.IsZero():
		r.UnreachableSince = now.UTC()
	}
	if n.Snapshot != nil {
		r.SnapshotAt = now.UTC()
	}
	return nil
}

// ExpireSession marks a live lease lost, if the region is as the caller saw it;
// ErrConflict.
func ExpireSession(r *capacity.Region, epoch, renewals int64, now time.Time) error {
	if r.Lease != capacity.LeaseLive || r.Epoch != epoch || r.Renewals != renewals {
		return fmt.Errorf("%w: it is epoch %d, renewed %d times, with a lease that is %s", ErrConflict, r.Epoch, r.Renewals, r.Lease)
	}
	r.Lease, r.LostAt = capacity.LeaseLost, now.UTC()
	return nil
}

// SetSchedulable sets the operator's flags, and returns the type of the event;
// empty if that changes nothing.
func SetSchedulable(r *capacity.Region, cordoned, draining bool) (event string) {
	if r.Cordoned == cordoned && r.Draining == draining {
		return ""
	}
	r.Cordoned, r.Draining = cordoned, draining
	switch {
	case draining:
		return EventRegionDraining
	case cordoned:
		return EventRegionCordoned
	default:
		return EventRegionUncordoned
	}
}

// WriteOff gives up an awaited region; ErrConflict.
func WriteOff(r *capacity.Region, now time.Time) error {
	if r.AwaitedSince.IsZero() {
		return fmt.Errorf("%w: its inventory is not awaited", ErrConflict)
	}
	r.AwaitedSince = time.Time{}
	r.Session, r.Inventoried = "", false
	r.Lease, r.LostAt = capacity.LeaseLost, now.UTC()
	return nil
}
