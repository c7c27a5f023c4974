package dynamodb

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// List returns one page of the jobs that a query selects, newest first. It
// reads one page of each shard; where one of them ends early, so does the
// list's page.
func (s *Store) List(ctx context.Context, query store.ListQuery) (store.Page, error) {
	var page store.Page
	if query.Limit <= 0 {
		return page, nil
	}
	source, err := s.sourceOf(ctx, query)
	if err != nil {
		return page, wrap(err, "reading jobs")
	}
	read := s.perShard(query, len(source.partitions))
	shards := make([]shardPage, len(source.partitions))
	err = each(ctx, len(shards), func(ctx context.Context, i int) error {
		q := source.query
		q.pk, q.limit = source.partitions[i], read
		items, _, next, err := s.page(ctx, q, nil)
		shards[i] = shardPage{items: items, more: next != nil}
		if next != nil {
			shards[i].last = textOf(next, q.sort)
		}
		return err
	})
	if err != nil {
		return page, wrap(err, "reading jobs")
	}
	return s.pageOf(ctx, query, source, shards)
}

// source is where a list is read from.
type source struct {
	query
	partitions []string
	// places tells that the items are places, and the records are elsewhere.
	places bool
	// id finds the ID in a sort key.
	id func(sort string) job.ID
}

// shardPage is one page of one shard. Up to the sort key last it is whole.
type shardPage struct {
	items []item
	last  string
	more  bool
}

// sourceOf chooses what tells the most of a query: the region, then the
// namespaces, then the states.
func (s *Store) sourceOf(ctx context.Context, q store.ListQuery) (source, error) {
	before := ""
	if q.Before != "" {
		before = ageKey(q.Before)
		before = before[:len(before)-1] + string(before[len(before)-1]-1) + afterAll
	}
	indexed := source{
		query: query{table: TableJobs, sort: attrSubmittedAt, to: before, newest: true},
		id:    func(sort string) job.ID { _, id, _ := strings.Cut(sort, "#"); return job.ID(id) },
	}
	var values []string
	switch namespaces := slices.Compact(slices.Sorted(slices.Values(q.Namespaces))); {
	case q.Region != "":
		from := source{query: query{table: TableState, partition: attrPK, sort: attrSK, newest: true}, places: true, partitions: s.partitionsOf(listRegion + q.Region)}
		if q.Before != "" {
			id := string(q.Before)
			from.to = id[:len(id)-1] + string(id[len(id)-1]-1) + afterAll
		}
		from.id = func(sort string) job.ID { return job.ID(sort) }
		return from, nil
	case len(namespaces) > 0 && len(namespaces) <= maxNamespaces:
		indexed.index, indexed.partition, values = indexNamespace, attrNamespace, namespaces
	default:
		v, err := s.log.fresh(ctx)
		if err != nil {
			return source{}, err
		}
		indexed.index, indexed.partition, values = indexStatus, attrStatus, v.listings(q.States)
	}
	for _, value := range values {
		for shard := range s.shards.Index {
			indexed.partitions = append(indexed.partitions, sharded(value, shard))
		}
	}
	return indexed, nil
}

// maxNamespaces is how many namespaces are merged from their own keys; for
// more it is better to walk all jobs.
const maxNamespaces = 20

// listings are the values of the attribute status that jobs in these states
// have, of those that any job has.
func (v *view) listings(states []job.State) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for key := range v.counts {
		if len(states) == 0 || slices.Contains(states, key.State) {
			all = append(all, listedAs(key.State))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// perShard is how much to read of each shard: its part of a page and a reserve
// for chance, or its part of all that may be read where a filter rejects.
func (s *Store) perShard(q store.ListQuery, shards int) int {
	shards = max(1, shards)
	filtered := len(q.Labels) > 0 || q.Template != "" || len(q.States) > 0 || q.Region != "" && len(q.Namespaces) > 0
	if filtered {
		return max(1, maxRead/shards)
	}
	part := float64(q.Limit) / float64(min(shards, s.shards.Index))
	return min(int(math.Ceil(part+2*math.Sqrt(part)))+2, maxRead)
}

// pageOf merges what was read, as far as all shards are whole.
func (s *Store) pageOf(ctx context.Context, q store.ListQuery, from source, shards []shardPage) (store.Page, error) {
	var page store.Page
	frontier := ""
	var items []item
	for _, shard := range shards {
		if shard.more {
			page.More = true
			frontier = max(frontier, shard.last)
		}
		items = append(items, shard.items...)
	}
	items = slices.DeleteFunc(items, func(i item) bool { return textOf(i, from.sort) < frontier })
	slices.SortFunc(items, func(a, b item) int { return compareText(b, a, from.sort) })
	// A job that changes its state while the list is read may be seen twice.
	items = slices.CompactFunc(items, func(a, b item) bool { return textOf(a, from.sort) == textOf(b, from.sort) })
	records, err := s.recordsOf(ctx, from, items)
	if err != nil {
		return page, wrap(err, "reading jobs")
	}
	if frontier != "" {
		page.Next = from.id(frontier)
	}
	for _, r := range records {
		if r == nil || !matches(r.Job, q) {
			continue
		}
		if len(page.Jobs) == q.Limit {
			page.More = true
			page.Next = page.Jobs[len(page.Jobs)-1].ID
			break
		}
		page.Jobs = append(page.Jobs, r.Job)
	}
	return page, nil
}

// recordsOf reads the records of items, in their order; nil where one is gone.
func (s *Store) recordsOf(ctx context.Context, from source, items []item) ([]*record, error) {
	all := make([]*record, len(items))
	if from.places {
		ids := idsOf(items)
		records, err := s.records(ctx, ids)
		for n, id := range ids {
			all[n] = records[id]
		}
		return all, err
	}
	for n, i := range items {
		var err error
		if all[n], err = recordOf(i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func matches(j job.Job, q store.ListQuery) bool {
	if len(q.Namespaces) > 0 && !slices.Contains(q.Namespaces, j.Spec.Namespace) ||
		len(q.States) > 0 && !slices.Contains(q.States, j.State) ||
		q.Region != "" && j.Region != q.Region || q.Template != "" && j.Spec.Template.Name != q.Template {
		return false
	}
	for key, value := range q.Labels {
		if got, ok := j.Spec.Labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}
