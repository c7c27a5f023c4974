package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// change is a store.Change as it goes into the database.
type change struct {
	store.Change
	status, event string

	// What only the transaction knows: see resolve.
	class int64
	from  countKey
	keys  keys
}

// Commit writes each change by itself, if the guard holds.
func (s *Store) Commit(ctx context.Context, guard *store.Guard, changes []store.Change) ([]error, error) {
	encoded := make([]change, len(changes))
	for i := range changes {
		event, err := json.Marshal(&changes[i].Transition)
		if err != nil {
			return nil, fmt.Errorf("encoding a transition of job %s: %w", changes[i].Job.ID, err)
		}
		encoded[i] = change{Change: changes[i], status: encodeStatus(&changes[i].Job), event: string(event)}
	}
	var errs []error
	err := s.writer.do(ctx, func(t *tx) error {
		if err := t.check(guard); err != nil {
			return err
		}
		results, err := t.changeAll(encoded)
		errs = results
		return err
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

// changeStep is how many changes one statement writes where many come at once.
const changeStep = 25

var (
	stChangeTogether = statement(changeTogetherText())
	stSave           = statement(`SAVEPOINT together`)
	stUndo           = statement(`ROLLBACK TO together`)
	stKeep           = statement(`RELEASE together`)
)

// changeTogetherText is stChange for changeStep rows of the same parameters.
func changeTogetherText() string {
	rows := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?), ", changeStep), ", ")
	return `UPDATE jobs SET state = c.column1, version = c.column2, region = c.column3, status = c.column4,
		stage = c.column5, stage_at = c.column6, queue = c.column7, lane = c.column8 FROM (VALUES ` + rows + `) c
		WHERE id = c.column9 AND version = c.column10 AND state = c.column11 AND region = c.column12 AND unwanted IS NULL AND overdue_at IS NULL`
}

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

// changeAll writes each change, or says why it did not.
func (t *tx) changeAll(changes []change) ([]error, error) {
	results := make([]error, len(changes))
	for at := 0; at < len(changes); {
		written, err := t.changeTogether(changes[at:])
		if err != nil {
			return nil, err
		}
		if written > 0 {
			at += written
			continue
		}
		// Some change of these does not match: which one shows by itself.
		for end := min(at+changeStep, len(changes)); at < end; at++ {
			err := t.change(&changes[at])
			if err != nil && !isDecision(err) {
				return nil, err
			}
			results[at] = wrap(err, "changing job %s", changes[at].Job.ID)
		}
	}
	return results, nil
}

// changeTogether writes the first changeStep changes with one statement, which
// costs a fifth less than one for each. It writes all or none, and returns how
// many.
func (t *tx) changeTogether(changes []change) (int, error) {
	if len(changes) < changeStep {
		return 0, nil
	}
	changes = changes[:changeStep]
	t.args = t.args[:0]
	for i := range changes {
		c := &changes[i]
		if found, err := t.resolve(c); !found || err != nil || c.keys.rare() {
			return 0, err
		}
		t.args = c.appendWhere(c.appendKeys(t.args))
	}
	if _, err := t.exec(stSave); err != nil {
		return 0, err
	}
	matched, err := t.exec(stChangeTogether, t.args...)
	if err != nil {
		return 0, err
	}
	if matched < changeStep {
		if _, err := t.exec(stUndo); err != nil {
			return 0, err
		}
	}
	if _, err := t.exec(stKeep); err != nil || matched < changeStep {
		return 0, err
	}
	for i := range changes {
		if err := t.note(&changes[i]); err != nil {
			return 0, err
		}
	}
	return changeStep, nil
}

// change writes one change, or decides not to. It does not read the record
// first: the transition says what the record was, and if that is not so,
// nothing matches.
func (t *tx) change(c *change) error {
	found, err := t.resolve(c)
	if err != nil {
		return err
	}
	if !found {
		return t.refuse(c)
	}
	matched, err := t.update(c)
	if err != nil {
		return err
	}
	if !matched {
		return t.refuse(c)
	}
	return t.note(c)
}

// resolve finds out what the change takes the record to be, and its new keys;
// found is false where its class is not there, and so no job of it.
func (t *tx) resolve(c *change) (found bool, err error) {
	if c.class, found, err = t.classSeq(c.Job.Spec.Class); !found || err != nil {
		return false, err
	}
	c.from = countKey{c.Job.Spec.Namespace, "", c.Transition.From}
	c.from.region, err = t.regionBefore(c)
	c.keys = keysOf(&c.Job, c.class)
	return err == nil, err
}

// update writes the record, if it is as the change takes it to be.
func (t *tx) update(c *change) (bool, error) {
	t.args = c.appendKeys(t.args[:0])
	if !c.keys.rare() {
		n, err := t.exec(stChange, c.appendWhere(t.args)...)
		if n == 1 || err != nil {
			return n == 1, err
		}
	}
	t.args = append(t.args, c.keys.unwanted, c.keys.overdueAt)
	n, err := t.exec(stChangeKeys, c.appendWhere(t.args)...)
	return n == 1, err
}

func (c *change) appendKeys(args []any) []any {
	j, k := &c.Job, &c.keys
	return append(args, string(j.State), j.Version, j.Region, c.status, k.stage, k.stageAt, k.queue, k.lane)
}

func (c *change) appendWhere(args []any) []any {
	return append(args, string(c.Job.ID), c.Job.Version-1, string(c.from.state), c.from.region)
}

// note writes what goes with a record that was changed: its event, and the
// counters.
func (t *tx) note(c *change) error {
	j := &c.Job
	if err := t.addEvent(&t.changes, string(j.ID), &c.Transition, c.event); err != nil {
		return err
	}
	t.count(c.from, c.class, -1)
	t.count(countKey{j.Spec.Namespace, j.Region, j.State}, c.class, 1)
	if c.from.state == job.Queued {
		t.removeWaiting(c.class)
	}
	if c.keys.stage == stageWaiting {
		t.addWaiting(c.class, rankOf(j.Spec.Priority), j.ID, instant(j.SubmittedAt))
	}
	return nil
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
