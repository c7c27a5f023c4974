package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// deleteStep is how many jobs are deleted in one turn of the writer: more
// would keep submitters waiting.
const deleteStep = 100

var (
	stDoomed      = statement(`SELECT ` + recordColumns + ` FROM jobs WHERE id = ?`)
	stDropJob     = statement(`DELETE FROM jobs WHERE seq = ?`)
	stLastOfJob   = statement(`SELECT seq FROM events WHERE subject = ? ORDER BY number DESC LIMIT 1`)
	stDropEvents  = statement(`DELETE FROM events WHERE subject = ?`)
	stDropSubmit  = statement(`DELETE FROM submissions WHERE job = ? RETURNING identity, namespace, key`)
	stOrphanKey   = statement(`UPDATE keys SET job = NULL, record = ? WHERE identity = ? AND namespace = ? AND key = ? AND at > ?`)
	stDropOldKeys = statement(`DELETE FROM keys WHERE (identity, namespace, key) IN
		(SELECT identity, namespace, key FROM keys WHERE job IS NULL AND at <= ? ORDER BY at LIMIT ?)`)
)

// Delete removes terminal jobs with all that hangs on them.
func (s *Store) Delete(ctx context.Context, ids []job.ID, now time.Time, keepKeys time.Duration) ([]error, error) {
	errs := make([]error, 0, len(ids))
	keysBefore := now.Add(-keepKeys)
	for begin := 0; begin == 0 || begin < len(ids); begin += deleteStep {
		step := ids[begin:min(begin+deleteStep, len(ids))]
		results, err := s.deleteStep(ctx, step, keysBefore)
		if err != nil && begin == 0 {
			return nil, wrap(err, "deleting jobs")
		}
		if err != nil {
			for _, id := range ids[begin:] {
				errs = append(errs, wrap(err, "deleting job %s", id))
			}
			return errs, nil
		}
		errs = append(errs, results...)
	}
	return errs, nil
}

func (s *Store) deleteStep(ctx context.Context, ids []job.ID, keysBefore time.Time) ([]error, error) {
	var errs []error
	err := s.writer.do(ctx, func(t *tx) error {
		results := make([]error, len(ids))
		if err := t.flushRows(); err != nil {
			return err
		}
		dispatched, err := t.dispatched()
		if err != nil {
			return err
		}
		for i, id := range ids {
			err := t.deleteJob(id, keysBefore, dispatched)
			if err != nil && !isDecision(err) {
				return err
			}
			results[i] = wrap(err, "deleting job %s", id)
		}
		errs = results
		_, err = t.exec(stDropOldKeys, instant(keysBefore), deleteStep)
		return err
	})
	return errs, err
}

// deleteJob deletes one job, or decides not to.
func (t *tx) deleteJob(id job.ID, keysBefore time.Time, dispatched int64) error {
	found, err := t.jobs(stDoomed, string(id))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return store.ErrNotFound
	}
	j := found[0]
	if !j.State.Terminal() {
		return fmt.Errorf("%w: it is %s", store.ErrConflict, j.State)
	}
	b, _, err := t.before(id)
	if err != nil {
		return err
	}
	var last int64
	if _, err := t.row(stLastOfJob, []any{b.seq}, &last); err != nil {
		return err
	}
	if last > dispatched {
		return store.ErrUndispatched
	}
	if err := t.deleteSubmission(b.seq, j, keysBefore); err != nil {
		return err
	}
	for _, drop := range []stmt{stDropEvents, stDropJob} {
		if _, err := t.exec(drop, b.seq); err != nil {
			return err
		}
	}
	t.forgotten = true
	t.references[b.class]--
	t.count(countKey{j.Spec.Namespace, j.Region, j.State}, b.class, -1)
	return nil
}

// deleteSubmission deletes the manifest, and the key if it is old; a younger
// one keeps the record, to answer replays with.
func (t *tx) deleteSubmission(seq int64, j job.Job, keysBefore time.Time) error {
	var identity, namespace, key *string
	if _, err := t.row(stDropSubmit, []any{seq}, &identity, &namespace, &key); err != nil || key == nil {
		return err
	}
	record, err := json.Marshal(j)
	if err != nil {
		return err
	}
	kept, err := t.exec(stOrphanKey, string(record), *identity, *namespace, *key, instant(keysBefore))
	if err == nil && kept == 0 {
		_, err = t.exec(stDropKey, *identity, *namespace, *key)
	}
	return err
}
