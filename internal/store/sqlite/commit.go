package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// change is a store.Change as it goes into the database.
type change struct {
	store.Change
	status, event string
}

// Commit writes each change by itself, if the guard holds.
func (s *Store) Commit(ctx context.Context, guard *store.Guard, changes []store.Change) ([]error, error) {
	encoded := make([]change, len(changes))
	for i := range changes {
		event, err := json.Marshal(&changes[i].Transition)
		if err != nil {
			return nil, fmt.Errorf("encoding a transition of job %s: %w", changes[i].Job.ID, err)
		}
		encoded[i] = change{changes[i], encodeStatus(&changes[i].Job), string(event)}
	}
	var errs []error
	err := s.writer.do(ctx, func(t *tx) error {
		results := make([]error, len(encoded))
		if err := t.check(guard); err != nil {
			return err
		}
		for i := range encoded {
			err := t.change(&encoded[i])
			if err != nil && !isDecision(err) {
				return err
			}
			results[i] = wrap(err, "changing job %s", encoded[i].Job.ID)
		}
		errs = results
		return nil
	})
	if err != nil {
		return nil, wrap(err, "changing jobs")
	}
	return errs, nil
}

// check returns store.ErrStaleSession if the guard does not hold.
func (t *tx) check(guard *store.Guard) error {
	if guard == nil {
		return nil
	}
	region, err := t.region(guard.Region)
	if err != nil && !isDecision(err) {
		return err
	}
	if err != nil || region.Epoch != guard.Epoch || region.Lease != guard.Lease ||
		guard.Renewals != 0 && region.Renewals != guard.Renewals {
		return fmt.Errorf("%w: region %s is not in epoch %d with a lease that is %s", store.ErrStaleSession, guard.Region, guard.Epoch, guard.Lease)
	}
	return nil
}

var (
	stBefore = statement(`SELECT seq, class, version, state, region FROM jobs WHERE id = ?`)
	stChange = statement(`UPDATE jobs SET state = ?, version = ?, region = ?, status = ?, stage = ?, stage_at = ?, queue = ?, lane = ?
		WHERE id = ? AND version = ? AND state = ? AND region = ? AND unwanted IS NULL AND overdue_at IS NULL`)
	// Few jobs have one of these two keys, before the change or after it.
	stChangeKeys = statement(`UPDATE jobs SET state = ?, version = ?, region = ?, status = ?, stage = ?, stage_at = ?, queue = ?, lane = ?,
		unwanted = ?, overdue_at = ? WHERE id = ? AND version = ? AND state = ? AND region = ?`)
)

// before is what the counters need of a record that changes.
type before struct {
	seq, class, version int64
	state, region       string
}

// before reads it; found is false where there is no such job.
func (t *tx) before(id job.ID) (b before, found bool, err error) {
	found, err = t.row(stBefore, []any{string(id)}, &b.seq, &b.class, &b.version, &b.state, &b.region)
	return b, found, err
}

// change writes one change, or decides not to. It does not read the record
// first: the transition says what the record was, and if that is not so,
// nothing matches.
func (t *tx) change(c *change) error {
	j := &c.Job
	class, found, err := t.classSeq(j.Spec.Class)
	if err != nil {
		return err
	}
	if !found {
		return t.refuse(c)
	}
	from := countKey{j.Spec.Namespace, "", c.Transition.From}
	if from.region, err = t.regionBefore(c); err != nil {
		return err
	}
	k := keysOf(j, class)
	matched, err := t.update(c, from, k)
	if err != nil {
		return err
	}
	if !matched {
		return t.refuse(c)
	}
	if err := t.addEvent(&t.changes, string(j.ID), &c.Transition, c.event); err != nil {
		return err
	}
	t.count(from, class, -1)
	t.count(countKey{j.Spec.Namespace, j.Region, j.State}, class, 1)
	if from.state == job.Queued {
		t.removeWaiting(class)
	}
	if k.stage == stageWaiting {
		t.addWaiting(class, rankOf(j.Spec.Priority), j.ID, instant(j.SubmittedAt))
	}
	return nil
}

// update writes the record, if it is as the change takes it to be.
func (t *tx) update(c *change, from countKey, k keys) (bool, error) {
	j := &c.Job
	where := [...]any{string(j.ID), j.Version - 1, string(from.state), from.region}
	t.args = append(t.args[:0], string(j.State), j.Version, j.Region, c.status, k.stage, k.stageAt, k.queue, k.lane)
	if k.unwanted == nil && k.overdueAt == nil {
		n, err := t.exec(stChange, append(t.args, where[:]...)...)
		if n == 1 || err != nil {
			return n == 1, err
		}
	}
	t.args = append(t.args, k.unwanted, k.overdueAt)
	n, err := t.exec(stChangeKeys, append(t.args, where[:]...)...)
	return n == 1, err
}

// regionBefore is the region that the record has before the change. A
// transition names the one that it leaves, but for a placement: that names
// where it goes.
func (t *tx) regionBefore(c *change) (string, error) {
	switch {
	case c.Transition.From == job.Queued:
		return "", nil
	case c.Transition.Event != job.Place:
		return c.Transition.Region, nil
	}
	b, _, err := t.before(c.Job.ID)
	return b.region, err
}

// refuse finds out why a change matched nothing.
func (t *tx) refuse(c *change) error {
	b, found, err := t.before(c.Job.ID)
	switch {
	case err != nil:
		return err
	case !found:
		return store.ErrNotFound
	case b.version != c.Job.Version-1:
		return fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, b.version, c.Job.Version-1)
	}
	return fmt.Errorf("%w: it is %s in region %q, and the transition is one from %s", store.ErrConflict, b.state, b.region, c.Transition.From)
}

var (
	stShip   = statement(`UPDATE jobs SET shipped = ?1, shipped_attempt = ?2 WHERE id = ?3 AND shipped_attempt <= ?2`)
	stExists = statement(`SELECT seq FROM jobs WHERE id = ?`)
)

// SetLogs records where the logs of an attempt are.
func (s *Store) SetLogs(ctx context.Context, id job.AttemptID, state job.LogState) error {
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stShip, string(state), id.Attempt, string(id.Job))
		if err != nil || n == 1 {
			return err
		}
		var seq int64
		found, err := t.row(stExists, []any{string(id.Job)}, &seq)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		return err
	})
	return wrap(err, "recording the logs of job %s", id.Job)
}
