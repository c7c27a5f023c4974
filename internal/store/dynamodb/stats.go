package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func idOf(subject string, number int64) string { return fmt.Sprintf("%s/%d", subject, number) }

func parseNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// Counts returns the number of jobs by namespace, region and state.
func (s *Store) Counts(ctx context.Context) ([]store.Count, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return nil, wrap(err, "reading the counters")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []store.Count
	for key, n := range v.counts {
		all = append(all, store.Count{Namespace: key.Namespace, Region: key.Region, State: key.State, Jobs: n})
	}
	slices.SortFunc(all, func(a, b store.Count) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Region, b.Region), cmp.Compare(a.State, b.State))
	})
	return all, nil
}

// Throughput returns the minutes from since on.
func (s *Store) Throughput(ctx context.Context, since time.Time) ([]store.Throughput, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return nil, wrap(err, "reading the throughput")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []store.Throughput
	for key, n := range v.minutes {
		if key.Minute >= since.Unix()/60 {
			all = append(all, store.Throughput{Minute: time.Unix(key.Minute*60, 0).UTC(), State: key.State, Jobs: n})
		}
	}
	slices.SortFunc(all, func(a, b store.Throughput) int {
		return cmp.Or(a.Minute.Compare(b.Minute), cmp.Compare(a.State, b.State))
	})
	return all, nil
}

// OldestWaiting is when the oldest Queued job was submitted.
func (s *Store) OldestWaiting(ctx context.Context) (time.Time, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return time.Time{}, wrap(err, "reading the oldest waiting job")
	}
	if !v.queued() {
		return time.Time{}, nil
	}
	var partitions []string
	for shard := range s.shards.Index {
		partitions = append(partitions, sharded(string(job.Queued), shard))
	}
	q := query{table: TableJobs, index: indexStatus, partition: attrStatus, sort: attrSubmittedAt, limit: 1}
	found, err := s.merged(ctx, q, partitions)
	if err != nil || len(found) == 0 {
		return time.Time{}, wrap(err, "reading the oldest waiting job")
	}
	r, err := recordOf(found[0])
	if err != nil {
		return time.Time{}, err
	}
	return r.SubmittedAt, nil
}

func (v *view) queued() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key := range v.counts {
		if key.State == job.Queued {
			return true
		}
	}
	return false
}

// Promises sums what regions were promised.
func (s *Store) Promises(ctx context.Context) ([]store.Promise, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return nil, wrap(err, "reading promises")
	}
	var all []store.Promise
	v.mu.Lock()
	for key, n := range v.promises {
		all = append(all, store.Promise{Region: key.Region, Class: key.Class, Count: int(n)})
	}
	v.mu.Unlock()
	slices.SortFunc(all, func(a, b store.Promise) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Class, b.Class))
	})
	for i := range all {
		class, err := s.class(ctx, all[i].Class)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("class %s has jobs and no demand", all[i].Class)
		}
		if err != nil {
			return nil, wrap(err, "reading promises")
		}
		all[i].Demand = class.Demand
	}
	return all, nil
}
