package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// wakeStep is how many jobs are woken in one turn of the writer.
const wakeStep = 200

var (
	stHeads = statement(`SELECT c.class, c.demand, c.constraints, h.rank, h.id, h.submitted_at
		FROM (SELECT class, rank, id, submitted_at FROM heads WHERE (rank, id) > (?, ?) ORDER BY rank, id LIMIT ?) h CROSS JOIN classes c ON c.seq = h.class
		ORDER BY h.rank, h.id`)
	stWaiting = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE queue = (SELECT 'waiting ' || seq FROM classes WHERE class = ?) AND (rank, id) > (?, ?) ORDER BY rank, id LIMIT ?`)
	stAhead = statement(`SELECT count(*) FROM (SELECT 1 FROM heads h CROSS JOIN jobs j
		ON j.queue = 'waiting ' || h.class AND (j.rank, j.id) < (?1, ?2)
		WHERE (h.rank, h.id) < (?1, ?2) LIMIT ?3)`)
	stPromises = statement(`SELECT p.region, c.class, c.demand, p.jobs FROM promises p CROSS JOIN classes c ON c.seq = p.class
		ORDER BY p.region, p.class`)
)

// WaitingClasses lists classes with a job that can be placed now.
func (s *Store) WaitingClasses(ctx context.Context, after store.Position, limit int) ([]store.WaitingClass, error) {
	var all []store.WaitingClass
	afterRank, afterID := from(after)
	err := s.read(ctx, "waiting classes", func(r *session) error {
		return r.each(stHeads, []any{afterRank, afterID, limit}, func(scan func(...any) error) error {
			var class, demand, constraints, id string
			var rank int64
			var submitted any
			if err := scan(&class, &demand, &constraints, &rank, &id, &submitted); err != nil {
				return err
			}
			w := store.WaitingClass{
				Class: capacity.Class(class),
				Head:  store.Position{Priority: int(-rank), ID: job.ID(id)},
				Since: instantOf(submitted),
			}
			if err := json.Unmarshal([]byte(demand), &w.Demand); err != nil {
				return err
			}
			err := json.Unmarshal([]byte(constraints), &w.Constraints)
			all = append(all, w)
			return err
		})
	})
	return all, err
}

// Waiting lists jobs of one class that can be placed now, in order.
func (s *Store) Waiting(ctx context.Context, class capacity.Class, after store.Position, limit int) ([]job.Job, error) {
	rank, id := from(after)
	return s.readJobs(ctx, "waiting jobs", stWaiting, string(class), rank, id, limit)
}

// Ahead counts the waiting jobs in front of a position, up to limit.
func (s *Store) Ahead(ctx context.Context, position store.Position, limit int) (count int, err error) {
	rank, id := from(position)
	err = s.read(ctx, "waiting jobs", func(r *session) error {
		_, err := r.row(stAhead, []any{rank, id, limit}, &count)
		return err
	})
	return count, err
}

// Promises sums what regions were promised.
func (s *Store) Promises(ctx context.Context) ([]store.Promise, error) {
	var all []store.Promise
	demands := map[string]capacity.Demand{}
	err := s.read(ctx, "promises", func(r *session) error {
		return r.each(stPromises, nil, func(scan func(...any) error) error {
			var p store.Promise
			var class, demand string
			if err := scan(&p.Region, &class, &demand, &p.Count); err != nil {
				return err
			}
			if _, known := demands[class]; !known {
				var d capacity.Demand
				if err := json.Unmarshal([]byte(demand), &d); err != nil {
					return err
				}
				demands[class] = d
			}
			p.Class, p.Demand = capacity.Class(class), demands[class]
			all = append(all, p)
			return nil
		})
	})
	return all, err
}

var (
	stDue = statement(`SELECT seq, class, rank, id, submitted_at FROM jobs
		WHERE stage = 0 AND stage_at <= ? ORDER BY stage_at LIMIT ?`)
	stWake    = statement(`UPDATE jobs SET stage = 1, stage_at = submitted_at, queue = ? WHERE seq = ?`)
	stNextDue = statement(`SELECT stage_at FROM jobs WHERE stage = 0 AND stage_at IS NOT NULL ORDER BY stage_at LIMIT 1`)
)

// Wake makes queued jobs placeable whose NotBefore has passed.
func (s *Store) Wake(ctx context.Context, now time.Time) (next time.Time, err error) {
	for {
		err := s.read(ctx, "jobs that wait for their time", func(r *session) error {
			var at any
			_, err := r.row(stNextDue, nil, &at)
			next = instantOf(at)
			return err
		})
		if err != nil || next.IsZero() || next.After(now) {
			return next, err
		}
		if err := s.writer.do(ctx, func(t *tx) error { return t.wake(now) }); err != nil {
			return time.Time{}, wrap(err, "waking jobs")
		}
	}
}

// wake moves one step of due jobs to the waiting ones.
func (t *tx) wake(now time.Time) error {
	type due struct {
		seq, class, rank int64
		id               string
		submitted        any
	}
	var all []due
	err := t.each(stDue, []any{instant(now), wakeStep}, func(scan func(...any) error) error {
		var d due
		err := scan(&d.seq, &d.class, &d.rank, &d.id, &d.submitted)
		all = append(all, d)
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range all {
		if _, err := t.exec(stWake, waitingQueue(d.class), d.seq); err != nil {
			return err
		}
		t.addWaiting(d.class, d.rank, job.ID(d.id), d.submitted)
	}
	return nil
}
