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
	source := s.sourceOf(query)
	read := s.perShard(query.Limit, source)
	shards := make([]shardPage, len(source.partitions))
	err := each(ctx, len(shards), func(ctx context.Context, i int) error {
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
	// wider tells that there are jobs in it that are not asked for.
	wider bool
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
// namespaces, then the states. What has more partitions than items may be
// looked at is read from the list of all jobs.
func (s *Store) sourceOf(q store.ListQuery) source {
	namespaces := slices.Compact(slices.Sorted(slices.Values(q.Namespaces)))
	states := slices.Compact(slices.Sorted(slices.Values(q.States)))
	if len(states) == len(job.States) {
		states = nil
	}
	most := maxRead / s.shards.Index
	wider := len(q.Labels) > 0 || q.Template != ""
	switch {
	case q.Region != "":
		return s.listSource(listRegion+q.Region, q.Before, wider || len(namespaces)+len(states) > 0)
	case 0 < len(namespaces) && len(namespaces) <= most:
		return s.indexSource(indexNamespace, attrNamespace, namespaces, q.Before, wider || len(states) > 0)
	case 0 < len(states) && len(states) <= most:
		return s.indexSource(indexStatus, attrStatus, textsOf(states), q.Before, wider || len(namespaces) > 0)
	}
	return s.listSource(listAll, q.Before, wider || len(namespaces)+len(states) > 0)
}

// listSource reads a list that is in the order of IDs.
func (s *Store) listSource(list string, before job.ID, wider bool) source {
	return source{
		query:      query{table: TableState, partition: attrPK, sort: attrSK, to: justBefore(string(before)), newest: true},
		partitions: s.partitionsOf(list), places: true, wider: wider,
		id: func(sort string) job.ID { return job.ID(sort) },
	}
}

// indexSource reads an index of the table of jobs that is in the order of their
// age, under some values of its partition key.
func (s *Store) indexSource(index, partition string, values []string, before job.ID, wider bool) source {
	end := ""
	if before != "" {
		end = justBefore(ageKey(before))
	}
	from := source{
		query: query{table: TableJobs, index: index, partition: partition, sort: attrSubmittedAt, to: end, newest: true},
		wider: wider,
		id:    func(sort string) job.ID { _, id, _ := strings.Cut(sort, "#"); return job.ID(id) },
	}
	for _, value := range values {
		for shard := range s.shards.Index {
			from.partitions = append(from.partitions, sharded(value, shard))
		}
	}
	return from
}

// spare is how many places more than a page needs are looked up, for those whose
// job has gone.
const spare = 8

// perShard is how much to read of each shard: its part of a page and a reserve
// for chance, or its part of all that may be read where not all is wanted. A
// place counts twice there, with its record.
func (s *Store) perShard(limit int, from source) int {
	shards := max(1, len(from.partitions))
	if from.wider {
		if from.places {
			shards *= 2
		}
		return max(1, maxRead/shards)
	}
	part := float64(limit) / float64(min(shards, s.shards.Index))
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
	if enough := q.Limit + spare; from.places && !from.wider && len(items) > enough {
		items, page.More = items[:enough], true
		frontier = textOf(items[enough-1], from.sort)
	}
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

func textsOf(states []job.State) []string {
	all := make([]string, len(states))
	for n, state := range states {
		all[n] = string(state)
	}
	return all
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
