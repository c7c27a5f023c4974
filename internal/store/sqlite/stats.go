package sqlite

import (
	"context"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

var (
	stCounts     = statement(`SELECT namespace, region, state, jobs FROM counts ORDER BY namespace, region, state`)
	stThroughput = statement(`SELECT minute, state, jobs FROM throughput WHERE minute >= ? ORDER BY minute, state`)
	stOldest     = statement(`SELECT stage_at FROM jobs WHERE stage = 1 AND stage_at IS NOT NULL ORDER BY stage_at LIMIT 1`)
	// Within a rank IDs are in the order of submission, so one look at each
	// rank is enough.
	stOldestLater = statement(`WITH RECURSIVE ranks (rank) AS (
			SELECT min(rank) FROM jobs WHERE queue = 'later'
			UNION ALL SELECT (SELECT min(rank) FROM jobs WHERE queue = 'later' AND rank > ranks.rank) FROM ranks WHERE rank IS NOT NULL)
		SELECT min((SELECT submitted_at FROM jobs WHERE queue = 'later' AND rank = ranks.rank ORDER BY id LIMIT 1))
		FROM ranks WHERE rank IS NOT NULL`)
)

// Counts returns the number of jobs by namespace, region and state.
func (s *Store) Counts(ctx context.Context) ([]store.Count, error) {
	var all []store.Count
	err := s.read(ctx, "the counters", func(r *session) error {
		return r.each(stCounts, nil, func(scan func(...any) error) error {
			var c store.Count
			var state string
			err := scan(&c.Namespace, &c.Region, &state, &c.Jobs)
			c.State = job.State(state)
			all = append(all, c)
			return err
		})
	})
	return all, err
}

// Throughput returns the minutes from since on.
func (s *Store) Throughput(ctx context.Context, since time.Time) ([]store.Throughput, error) {
	var all []store.Throughput
	err := s.read(ctx, "the throughput", func(r *session) error {
		return r.each(stThroughput, []any{minuteOf(since)}, func(scan func(...any) error) error {
			var minute int64
			var state string
			var t store.Throughput
			err := scan(&minute, &state, &t.Jobs)
			t.Minute, t.State = time.Unix(minute*60, 0).UTC(), job.State(state)
			all = append(all, t)
			return err
		})
	})
	return all, err
}

// OldestWaiting is when the oldest Queued job was submitted.
func (s *Store) OldestWaiting(ctx context.Context) (oldest time.Time, err error) {
	err = s.read(ctx, "the oldest waiting job", func(r *session) error {
		for _, id := range []stmt{stOldest, stOldestLater} {
			var at any
			if _, err := r.row(id, nil, &at); err != nil {
				return err
			}
			if t := instantOf(at); oldest.IsZero() || (!t.IsZero() && t.Before(oldest)) {
				oldest = t
			}
		}
		return nil
	})
	return oldest, err
}
