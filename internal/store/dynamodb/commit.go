package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// commitTries is how often a change is begun anew because something else than
// its version has changed.
const commitTries = 20

// errMoved says that a record is still of the version before, and was written
// all the same: it was woken, or its logs were archived.
var errMoved = errors.New("the record was moved")

// Commit writes each change by itself, if the guard holds.
func (s *Store) Commit(ctx context.Context, guard *store.Guard, changes []store.Change) ([]error, error) {
	if err := ctx.Err(); err != nil || len(changes) == 0 {
		return nil, err
	}
	if guard != nil {
		fence := s.fences.of(guard.Region)
		fence.RLock()
		defer fence.RUnlock()
	}
	errs := make([]error, len(changes))
	for _, wave := range waves(changes) {
		s.commitWave(ctx, s.guardChecks(guard, changes), changes, wave, errs)
	}
	failed := 0
	for i := range errs {
		if errs[i] != nil && !errors.Is(errs[i], store.ErrConflict) && !errors.Is(errs[i], store.ErrNotFound) {
			failed++
		}
		errs[i] = wrap(errs[i], "changing job %s", changes[i].Job.ID)
	}
	if failed == len(errs) && !errors.Is(errs[0], store.ErrUnknown) {
		return nil, errs[0]
	}
	return errs, nil
}

// waves puts changes of the same job one after the other.
func waves(changes []store.Change) [][]int {
	var all [][]int
	times := map[job.ID]int{}
	for i := range changes {
		id := changes[i].Job.ID
		if times[id] == len(all) {
			all = append(all, nil)
		}
		all[times[id]] = append(all[times[id]], i)
		times[id]++
	}
	return all
}

// guardChecks are the conditions that a guard stands for. Reports check one of
// the copies of the epoch, each transaction another one, so that they do not
// meet there; only who must know of renewals checks the region itself.
func (s *Store) guardChecks(guard *store.Guard, changes []store.Change) checks {
	if guard == nil {
		return nil
	}
	first := shardOf(string(changes[0].Job.ID), s.shards.Guard)
	return func(transaction int) *types.ConditionCheck {
		return s.guardCheck(guard, (first+transaction)%s.shards.Guard)
	}
}

func (s *Store) guardCheck(guard *store.Guard, shard int) *types.ConditionCheck {
	condition := "epoch = :epoch AND lease = :lease"
	values := item{":epoch": number(guard.Epoch), ":lease": text(string(guard.Lease))}
	k := guardKey(guard.Region, shard)
	if guard.Renewals != 0 {
		k = at(pkRegions, guard.Region)
		condition += " AND renewals = :renewals"
		values[":renewals"] = number(guard.Renewals)
	}
	return &types.ConditionCheck{TableName: s.name(TableState), Key: k, ConditionExpression: &condition, ExpressionAttributeValues: values}
}

// commitWave writes changes of different jobs.
func (s *Store) commitWave(ctx context.Context, check checks, changes []store.Change, wave []int, errs []error) {
	for try := 0; len(wave) > 0; try++ {
		ids := make([]job.ID, len(wave))
		for n, i := range wave {
			ids[n] = changes[i].Job.ID
		}
		records, err := s.records(ctx, ids)
		var units []unit
		var written []int
		for _, i := range wave {
			var u unit
			if errs[i] = err; err == nil {
				u, errs[i] = s.changeUnit(records[changes[i].Job.ID], &changes[i])
			}
			if errs[i] == nil {
				units, written = append(units, u), append(written, i)
			}
		}
		wave = nil
		for n, err := range s.transact(ctx, check, units) {
			if errs[written[n]] = err; errors.Is(err, errMoved) && try < commitTries {
				wave = append(wave, written[n])
			}
		}
	}
}

// changeUnit is the one write of a change, or why there is none.
func (s *Store) changeUnit(before *record, c *store.Change) (unit, error) {
	if before == nil {
		return unit{}, store.ErrNotFound
	}
	if before.Version != c.Job.Version-1 {
		return unit{}, fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, before.Version, c.Job.Version-1)
	}
	after := &record{
		Job: c.Job, stamp: s.stamps.next(before.stamp), key: before.key, manifest: before.manifest,
		shipped: before.shipped, shippedOf: before.shippedOf,
	}
	put, err := s.replaceRecord(before, after)
	if err != nil {
		return unit{}, err
	}
	data, err := json.Marshal(&c.Transition)
	if err != nil {
		return unit{}, fmt.Errorf("encoding a transition: %w", err)
	}
	e := jobEntry(before, after, &c.Transition)
	actions := append([]types.TransactWriteItem{put, s.eventAction(&e, data), s.tailAction(e)}, s.moveActions(before, after)...)
	return unit{actions: actions, refused: func(_ int, found item) error {
		switch {
		case found == nil:
			return store.ErrNotFound
		case textOf(found, attrStamp) == string(after.stamp):
			return nil
		}
		now, err := recordOf(found)
		if err != nil {
			return err
		}
		if now.Version == before.Version {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, errMoved)
		}
		return fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, now.Version, before.Version)
	}}, nil
}

// SetLogs records where the logs of an attempt are. The record gets another
// stamp, so that whoever changes it at the same time reads it again.
func (s *Store) SetLogs(ctx context.Context, id job.AttemptID, state job.LogState) error {
	for range commitTries {
		r, err := s.record(ctx, id.Job)
		if err != nil {
			return wrap(err, "recording the logs of job %s", id.Job)
		}
		if r.shippedOf > id.Attempt {
			return nil
		}
		after := *r
		after.shipped, after.shippedOf, after.stamp = state, id.Attempt, s.stamps.next(r.stamp)
		i, err := s.recordItem(&after)
		if err != nil {
			return err
		}
		found, ok, err := s.put(ctx, TableJobs, i, "stamp = :before", item{":before": text(string(r.stamp))})
		if err != nil || ok || textOf(found, attrStamp) == string(after.stamp) {
			return wrap(err, "recording the logs of job %s", id.Job)
		}
	}
	return fmt.Errorf("recording the logs of job %s: %w: it changes all the time", id.Job, store.ErrUnavailable)
}
