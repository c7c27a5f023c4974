package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// mostInOne is how many events go in the write that removes their job; a job
// with more loses the oldest first.
const mostInOne = 80

// Delete removes terminal jobs with all that hangs on them. Old keys need no
// removing: they can be used again, and go by themselves.
func (s *Store) Delete(ctx context.Context, ids []job.ID, now time.Time, keepKeys time.Duration) ([]error, error) {
	if err := ctx.Err(); err != nil || len(ids) == 0 {
		return nil, err
	}
	gate, err := s.dispatchGate(ctx)
	if err != nil {
		return nil, wrap(err, "deleting jobs")
	}
	errs := make([]error, len(ids))
	_ = each(ctx, len(ids), func(ctx context.Context, i int) error {
		errs[i] = wrap(s.deleteJob(ctx, ids[i], now, keepKeys, gate), "deleting job %s", ids[i])
		return nil
	})
	if err := s.collect(ctx); err != nil && ctx.Err() == nil {
		s.logger.Warn("large manifests of removed jobs stay for now", "error", err)
	}
	return errs, nil
}

// deleteJob deletes one job, or decides not to.
func (s *Store) deleteJob(ctx context.Context, id job.ID, now time.Time, keepKeys time.Duration, gate int64) error {
	for range commitTries {
		r, err := s.record(ctx, id)
		if err != nil {
			return err
		}
		if !r.State.Terminal() {
			return fmt.Errorf("%w: it is %s", store.ErrConflict, r.State)
		}
		if err := s.passed(ctx, store.JobSubject(id), gate); err != nil {
			return err
		}
		if err := s.dropOldEvents(ctx, r); err != nil {
			return err
		}
		u, err := s.removal(ctx, r, now, keepKeys)
		if err != nil {
			return err
		}
		if err := s.transactOne(ctx, u); !errors.Is(err, errMoved) {
			return err
		}
	}
	return fmt.Errorf("%w: it changes all the time", store.ErrUnavailable)
}

// dropOldEvents makes what is left fit into one write.
func (s *Store) dropOldEvents(ctx context.Context, r *record) error {
	var old []item
	for n := int64(1); n <= r.Version-mostInOne; n++ {
		old = append(old, eventKey(store.JobSubject(r.ID), n))
	}
	return s.remove(ctx, TableEvents, old)
}

// removal is the one write that removes a job.
func (s *Store) removal(ctx context.Context, r *record, now time.Time, keepKeys time.Duration) (unit, error) {
	e := entry{
		Stamp: s.stamps.next(r.stamp), Subject: store.JobSubject(r.ID), Number: r.Version, Namespace: r.Spec.Namespace, Job: moveOf(r, nil),
	}
	u := unit{actions: []types.TransactWriteItem{
		s.deleteAction(TableJobs, atJob(string(r.ID)), "stamp = :before", item{":before": text(string(r.stamp))}),
		s.deleteAction(TableState, manifestKey(r.ID), "", nil),
		s.tailAction(e),
	}}
	u.actions = append(u.actions, s.moveActions(r, nil)...)
	for n := max(1, r.Version-mostInOne+1); n <= r.Version; n++ {
		u.actions = append(u.actions, s.deleteAction(TableEvents, eventKey(store.JobSubject(r.ID), n), "", nil))
	}
	if r.manifest != "" {
		u.actions = append(u.actions, s.putAction(TableState, loose{hash: r.manifest, id: r.ID, since: time.Unix(0, 0)}.doomed(), "", nil))
	}
	release, err := s.releaseKey(ctx, r, now, keepKeys)
	if err != nil {
		return unit{}, err
	}
	u.actions = append(u.actions, release...)
	u.refused = func(_ int, found item) error {
		if found == nil {
			return store.ErrNotFound
		}
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errMoved)
	}
	return u, nil
}

// releaseKey removes the key that made a job, if it is old; a younger one keeps
// the record, to answer replays with.
func (s *Store) releaseKey(ctx context.Context, r *record, now time.Time, keepKeys time.Duration) ([]types.TransactWriteItem, error) {
	if r.key == "" {
		return nil, nil
	}
	k, err := s.get(ctx, TableState, keyKey(r.key))
	if errors.Is(err, store.ErrNotFound) || err == nil && textOf(k, attrJob) != string(r.ID) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	until := time.Unix(0, numberOf(k, attrAt)).Add(keepKeys)
	if !until.After(now) {
		return []types.TransactWriteItem{s.deleteAction(TableState, keyKey(r.key), "", nil)}, nil
	}
	body, err := packJSON(&r.Job)
	if err != nil {
		return nil, err
	}
	kept := with(k, item{attrBody: body, attrUntil: number(until.UnixNano()), attrTTL: number(until.Add(backstop).Unix())})
	return []types.TransactWriteItem{s.putAction(TableState, kept, "", nil)}, nil
}
