package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gco-project/gco/internal/store"
)

// leaseName is the one lease that all loops of the queue share.
const leaseName = "queue"

// leader campaigns for the lease that lets this process run the loops.
//
// The lease is a counter in the store. Whoever holds it makes it grow every
// quarter of Timing.Lease; whoever wants it watches it on its own clock, and
// takes it over when it has not grown for a whole Lease. The holder trusts
// itself for three quarters of a Lease after the start of its last renewal,
// so it has stopped before anyone else starts. Two leaders would be no
// disaster: every change that they make is conditional on the record's
// version.
type leader struct {
	q *Queue
	// until is when trust ends, in nanoseconds since start on this process's
	// monotonic clock; 0 is not leading.
	until atomic.Int64
	start time.Time

	// seen is the lease as last read, and seenAt when it last grew. Only
	// runOnce uses them.
	seen   store.LeaderLease
	seenAt time.Time
}

func newLeader(q *Queue) *leader { return &leader{q: q, start: q.Clock.Now()} }

func (l *leader) leading(now time.Time) bool {
	return int64(now.Sub(l.start)) < l.until.Load()
}

func (l *leader) run(ctx context.Context) error {
	ticker := l.q.Clock.NewTicker(l.q.Timing.Lease / 4)
	defer ticker.Stop()
	for {
		was := l.leading(l.q.Clock.Now())
		if err := l.runOnce(ctx); err != nil && ctx.Err() == nil {
			l.q.Log.Error("renewing the leader's lease", "error", err)
		}
		if is := l.leading(l.q.Clock.Now()); is != was {
			l.q.Log.Info("leadership changed", "leading", is)
			l.q.wakePlacer()
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *leader) runOnce(ctx context.Context) error {
	begin := l.q.Clock.Now()
	lease, err := l.q.Store.LeaderLease(ctx, leaseName)
	if err != nil {
		return err
	}
	if lease != l.seen {
		// Not begin: the read may have lasted, and the lease grown meanwhile.
		l.seen, l.seenAt = lease, l.q.Clock.Now()
	}
	mine := lease.Holder == l.q.Holder
	free := lease.Holder == ""
	ended := begin.Sub(l.seenAt) >= l.q.Timing.Lease
	if !mine && !free && !ended {
		return nil
	}
	lease, err = l.q.Store.TakeLease(ctx, leaseName, l.q.Holder, lease.Renewals)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	l.seen, l.seenAt = lease, begin
	l.until.Store(int64(begin.Add(l.q.Timing.Lease * 3 / 4).Sub(l.start)))
	return nil
}
