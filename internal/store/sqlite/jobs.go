package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

var (
	stJob      = statement(`SELECT ` + recordColumns + ` FROM jobs WHERE id = ?`)
	stJobBySeq = statement(`SELECT ` + recordColumns + ` FROM jobs WHERE seq = ?`)
	stManifest = statement(`SELECT manifest FROM submissions WHERE job = (SELECT seq FROM jobs WHERE id = ?)`)
	stDemand   = statement(`SELECT demand FROM classes WHERE class = ?`)
	// The plus takes the type of the column away, which would keep SQLite from
	// comparing it by an index over values of two types.
	stHistory = statement(`SELECT data FROM events WHERE subject = (SELECT +seq FROM jobs WHERE id = ?) ORDER BY number`)
)

// read lends a session to a read, and says what was being read if it fails.
func (s *Store) read(ctx context.Context, what string, f func(*session) error) error {
	err := s.readers.use(ctx, f)
	switch {
	case isDamage(err):
		err = damagedInUse(s.path, err)
	case err != nil && !isDecision(err):
		err = unavailable(err)
	}
	return wrap(err, "reading %s", what)
}

// readJobs runs a statement that selects records.
func (s *Store) readJobs(ctx context.Context, what string, id stmt, args ...any) (all []job.Job, err error) {
	err = s.read(ctx, what, func(r *session) error {
		all, err = r.jobs(id, args...)
		return err
	})
	return all, err
}

// Job returns one record.
func (s *Store) Job(ctx context.Context, id job.ID) (job.Job, error) {
	found, err := s.readJobs(ctx, "a job", stJob, string(id))
	if err != nil {
		return job.Job{}, err
	}
	if len(found) == 0 {
		return job.Job{}, fmt.Errorf("job %s: %w", id, store.ErrNotFound)
	}
	return found[0], nil
}

// JobsByID returns those that exist.
func (s *Store) JobsByID(ctx context.Context, ids []job.ID) (map[job.ID]job.Job, error) {
	all := make(map[job.ID]job.Job, len(ids))
	err := s.read(ctx, "jobs", func(r *session) error {
		for _, id := range ids {
			found, err := r.jobs(stJob, string(id))
			if err != nil {
				return err
			}
			for _, j := range found {
				all[j.ID] = j
			}
		}
		return nil
	})
	return all, err
}

// text runs a statement that returns one text.
func (s *Store) text(ctx context.Context, what string, id stmt, args ...any) (text string, err error) {
	err = s.read(ctx, what, func(r *session) error {
		found, err := r.row(id, args, &text)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		return err
	})
	return text, err
}

// Manifest returns the manifest of a job as it was inserted.
func (s *Store) Manifest(ctx context.Context, id job.ID) ([]byte, error) {
	text, err := s.text(ctx, "the manifest of job "+string(id), stManifest, string(id))
	return []byte(text), err
}

// Demand returns what the jobs of a class ask for.
func (s *Store) Demand(ctx context.Context, class capacity.Class) (capacity.Demand, error) {
	text, err := s.text(ctx, "the demand of class "+string(class), stDemand, string(class))
	if err != nil {
		return capacity.Demand{}, err
	}
	var demand capacity.Demand
	err = json.Unmarshal([]byte(text), &demand)
	return demand, wrap(err, "reading the demand of class %s", class)
}

// History returns all transitions of a job, oldest first.
func (s *Store) History(ctx context.Context, id job.ID) ([]job.Transition, error) {
	var all []job.Transition
	err := s.read(ctx, "the history of job "+string(id), func(r *session) error {
		return r.each(stHistory, []any{string(id)}, func(scan func(...any) error) error {
			var data string
			if err := scan(&data); err != nil {
				return err
			}
			var t job.Transition
			err := json.Unmarshal([]byte(data), &t)
			all = append(all, t)
			return err
		})
	})
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("job %s: %w", id, store.ErrNotFound)
	}
	return all, err
}

// from is a position as two parameters; a position without an ID is before
// every rank.
func from(p store.Position) (rank int64, id string) {
	if p.ID == "" {
		return -1 << 62, ""
	}
	return rankOf(p.Priority), string(p.ID)
}

var (
	stPlaced = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE queue = ? AND (rank, id) > (?, ?) ORDER BY rank, id LIMIT ?`)
	stPlacedSince = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE stage = 2 AND stage_at < ? ORDER BY stage_at LIMIT ?`)
	stAttempts = statement(`SELECT ` + recordColumns + ` FROM jobs WHERE lane = 'claimed ' || ?1 AND id > ?2 UNION ALL
		SELECT ` + recordColumns + ` FROM jobs WHERE lane = 'held ' || ?1 AND id > ?2 ORDER BY id LIMIT ?3`)
	stRanked = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE queue = ? ORDER BY rank, id LIMIT ?`)
	stClaimed = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE lane = ? AND id > ? ORDER BY id LIMIT ?`)
	stUnwanted = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE unwanted = ? AND id > ? ORDER BY id LIMIT ?`)
	stSuspended = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE stage = 3 AND stage_at <= ? ORDER BY stage_at LIMIT ?`)
	stOverdue = statement(`SELECT ` + recordColumns + ` FROM jobs
		WHERE overdue_at <= ? ORDER BY overdue_at LIMIT ?`)
	stExpired = statement(`SELECT id FROM jobs WHERE stage = 4 AND stage_at <= ? ORDER BY stage_at LIMIT ?`)
)

// Placed lists a region's Placed jobs in order.
func (s *Store) Placed(ctx context.Context, region string, after store.Position, limit int) ([]job.Job, error) {
	rank, id := from(after)
	return s.readJobs(ctx, "placed jobs", stPlaced, queuePlaced+region, rank, id, limit)
}

// PlacedSince lists jobs that have been Placed since before the given time.
func (s *Store) PlacedSince(ctx context.Context, before time.Time, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "placed jobs", stPlacedSince, instant(before), limit)
}

// Attempts lists a region's active jobs by ID.
func (s *Store) Attempts(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "active jobs", stAttempts, region, string(after), limit)
}

// AttemptsByPriority lists a region's active jobs, highest priority first,
// that are not sitting out the loss of the region.
func (s *Store) AttemptsByPriority(ctx context.Context, region string, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "active jobs", stRanked, queueActive+region, limit)
}

// Claimed lists a region's Claimed jobs by ID.
func (s *Store) Claimed(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "claimed jobs", stClaimed, laneClaimed+region, string(after), limit)
}

// Unwanted lists a region's active jobs whose intent is not Run, by ID.
func (s *Store) Unwanted(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "unwanted jobs", stUnwanted, region, string(after), limit)
}

// Suspended lists jobs that have sat out a lost region for as long as they may.
func (s *Store) Suspended(ctx context.Context, now time.Time, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "suspended jobs", stSuspended, instant(now), limit)
}

// Overdue lists jobs whose deadline has passed and that should be stopped.
func (s *Store) Overdue(ctx context.Context, now time.Time, limit int) ([]job.Job, error) {
	return s.readJobs(ctx, "overdue jobs", stOverdue, instant(now), limit)
}

// Expired lists terminal jobs whose record may be removed.
func (s *Store) Expired(ctx context.Context, now time.Time, limit int) ([]job.ID, error) {
	var ids []job.ID
	err := s.read(ctx, "expired jobs", func(r *session) error {
		return r.each(stExpired, []any{instant(now), limit}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, job.ID(id))
			return err
		})
	})
	return ids, err
}
