package dynamodb

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// record reads one record as it is now.
func (s *Store) record(ctx context.Context, id job.ID) (*record, error) {
	found, err := s.get(ctx, TableJobs, atJob(string(id)))
	if err != nil {
		return nil, err
	}
	return recordOf(found)
}

// records reads those that exist.
func (s *Store) records(ctx context.Context, ids []job.ID) (map[job.ID]*record, error) {
	all := make(map[job.ID]*record, len(ids))
	keys := make([]item, 0, len(ids))
	for _, id := range ids {
		if _, twice := all[id]; !twice && id != "" {
			all[id] = nil
			keys = append(keys, atJob(string(id)))
		}
	}
	items, err := s.getAll(ctx, TableJobs, keys)
	if err != nil {
		return nil, err
	}
	for _, i := range items {
		r, err := recordOf(i)
		if err != nil {
			return nil, err
		}
		all[r.ID] = r
	}
	for id, r := range all {
		if r == nil {
			delete(all, id)
		}
	}
	return all, nil
}

// replaceRecord writes the record after, if the one before still stands.
func (s *Store) replaceRecord(before, after *record) (types.TransactWriteItem, error) {
	i, err := s.recordItem(after)
	return s.putAction(TableJobs, i, "stamp = :before", item{":before": text(string(before.stamp))}), err
}

// Job returns one record.
func (s *Store) Job(ctx context.Context, id job.ID) (job.Job, error) {
	r, err := s.record(ctx, id)
	if err != nil {
		return job.Job{}, wrap(err, "reading job %s", id)
	}
	return r.Job, nil
}

// JobsByID returns those that exist.
func (s *Store) JobsByID(ctx context.Context, ids []job.ID) (map[job.ID]job.Job, error) {
	records, err := s.records(ctx, ids)
	if err != nil {
		return nil, wrap(err, "reading jobs")
	}
	all := make(map[job.ID]job.Job, len(records))
	for id, r := range records {
		all[id] = r.Job
	}
	return all, nil
}

// History returns all transitions of a job, oldest first.
func (s *Store) History(ctx context.Context, id job.ID) ([]job.Transition, error) {
	items, err := s.all(ctx, query{table: TableEvents, pk: store.JobSubject(id)})
	if err != nil {
		return nil, wrap(err, "reading the history of job %s", id)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("reading the history of job %s: %w", id, store.ErrNotFound)
	}
	all := make([]job.Transition, len(items))
	for n, i := range items {
		e, err := eventOf(i)
		if err == nil {
			err = json.Unmarshal(e.Data, &all[n])
		}
		if err != nil {
			return nil, wrap(err, "reading the history of job %s", id)
		}
	}
	return all, nil
}
