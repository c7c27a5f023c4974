package dynamodb

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// Attributes of a place in a list.
const (
	attrID       = "id"
	attrPriority = "priority"
	attrSince    = "since"
	attrAway     = "away"
)

// fewShards is for lists that somebody looks at every second, and that not
// every job comes into.
const fewShards = 4

func (s *Store) listShards(list string) int {
	switch {
	case rare(list):
		return 1
	case list == listDuePipelines, list == listDueSchedules:
		return min(fewShards, s.shards.List)
	}
	return s.shards.List
}

// partitionsOf are the partition keys of a list.
func (s *Store) partitionsOf(list string) []string {
	all := make([]string, s.listShards(list))
	for shard := range all {
		all[shard] = s.partitionOf(list, shard)
	}
	return all
}

func (s *Store) partitionOf(list string, shard int) string {
	return sharded(key(kindList, list), shard)
}

// placeKey is where the item of a place is.
func (s *Store) placeKey(p place, id job.ID) item {
	return at(s.partitionOf(p.list, shardOf(string(id), s.listShards(p.list))), p.sort)
}

// moveActions takes a job from its places before to those after; nil is nowhere.
func (s *Store) moveActions(before, after *record) []types.TransactWriteItem {
	var from, to []place
	var actions []types.TransactWriteItem
	if before != nil {
		from = before.places()
	}
	if after != nil {
		to = after.places()
	}
	for _, p := range to {
		if slices.Contains(from, p) {
			continue
		}
		i := with(s.placeKey(p, after.ID), item{attrID: text(string(after.ID)), attrPriority: number(int64(p.priority))})
		if p.since != 0 {
			i[attrSince] = number(p.since)
		}
		if p.away {
			i[attrAway] = number(1)
		}
		actions = append(actions, s.putAction(TableState, i, "", nil))
	}
	for _, p := range from {
		stays := slices.ContainsFunc(to, func(q place) bool { return q.list == p.list && q.sort == p.sort })
		if !stays {
			actions = append(actions, s.deleteAction(TableState, s.placeKey(p, before.ID), "", nil))
		}
	}
	return actions
}

// members reads a list in its order, between two sort keys.
func (s *Store) members(ctx context.Context, list, from, to string, limit int) ([]job.ID, error) {
	items, err := s.merged(ctx, query{table: TableState, from: from, to: to, limit: limit}, s.partitionsOf(list))
	return idsOf(items), err
}

func idsOf(items []item) []job.ID {
	ids := make([]job.ID, len(items))
	for n, i := range items {
		ids[n] = job.ID(textOf(i, attrID))
	}
	return ids
}

// listed reads the records of a list, in its order. One that has left it since
// the list was read is left out: belongs tells.
func (s *Store) listed(ctx context.Context, ids []job.ID, belongs func(*record) bool) ([]job.Job, error) {
	records, err := s.records(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make([]job.Job, 0, len(ids))
	for _, id := range ids {
		if r := records[id]; r != nil && belongs(r) {
			all = append(all, r.Job)
		}
	}
	return all, nil
}

// within reads the jobs of a list between two sort keys. What has left the list
// meanwhile makes it go on, so that only the end of the list makes a short
// answer.
func (s *Store) within(ctx context.Context, list, from, to string, limit int) ([]job.Job, error) {
	var all []job.Job
	for len(all) < limit {
		items, err := s.merged(ctx, query{table: TableState, from: from, to: to, limit: limit - len(all)}, s.partitionsOf(list))
		if err != nil {
			return nil, err
		}
		jobs, err := s.listed(ctx, idsOf(items), func(r *record) bool {
			return slices.ContainsFunc(r.places(), func(p place) bool { return p.list == list })
		})
		if err != nil {
			return nil, err
		}
		wanted := limit - len(all)
		all = append(all, jobs...)
		if len(items) < wanted {
			break
		}
		from = textOf(items[len(items)-1], attrSK) + "\x01"
	}
	return all, nil
}

// afterPosition is the sort key to begin from after a position.
func afterPosition(p store.Position) string {
	if p.ID == "" {
		return ""
	}
	return positionKey(p.Priority, p.ID) + "\x01"
}

func afterID(id job.ID) string {
	if id == "" {
		return ""
	}
	return string(id) + "\x01"
}

// Placed lists a region's Placed jobs in order.
func (s *Store) Placed(ctx context.Context, region string, after store.Position, limit int) ([]job.Job, error) {
	jobs, err := s.within(ctx, listPlaced+region, afterPosition(after), "", limit)
	return jobs, wrap(err, "reading what was placed in %s", region)
}

// Claimed lists a region's Claimed jobs by ID.
func (s *Store) Claimed(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error) {
	jobs, err := s.within(ctx, listClaimed+region, afterID(after), "", limit)
	return jobs, wrap(err, "reading what %s has claimed", region)
}

// Unwanted lists a region's active jobs whose intent is not Run, by ID.
func (s *Store) Unwanted(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error) {
	jobs, err := s.within(ctx, listUnwanted+region, afterID(after), "", limit)
	return jobs, wrap(err, "reading what %s should stop", region)
}

// Attempts lists a region's active jobs by ID. A job moves from one of the two
// lists to the other while they are read, so the one that it moves from comes
// first. Only the end makes a short answer: an attempt that is not listed is
// taken for one that should not be.
func (s *Store) Attempts(ctx context.Context, region string, after job.ID, limit int) ([]job.Job, error) {
	var all []job.Job
	for len(all) < limit {
		wanted := limit - len(all)
		var ids []job.ID
		for _, list := range []string{listClaimed, listHeld} {
			found, err := s.members(ctx, list+region, afterID(after), "", wanted)
			if err != nil {
				return nil, wrap(err, "reading the attempts of %s", region)
			}
			ids = append(ids, found...)
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		ids = ids[:min(len(ids), wanted)]
		jobs, err := s.listed(ctx, ids, func(r *record) bool { return r.Region == region && r.State.Active() })
		if err != nil {
			return nil, wrap(err, "reading the attempts of %s", region)
		}
		all = append(all, jobs...)
		if len(ids) < wanted {
			break
		}
		after = ids[len(ids)-1]
	}
	return all, nil
}

// AttemptsByPriority lists a region's active jobs, highest priority first, that
// are not sitting out the loss of the region. It reads the places of all of
// them: it is for regions that were lost.
func (s *Store) AttemptsByPriority(ctx context.Context, region string, limit int) ([]job.Job, error) {
	var items []item
	for _, list := range []string{listClaimed, listHeld} {
		found, err := s.merged(ctx, query{table: TableState}, s.partitionsOf(list+region))
		if err != nil {
			return nil, wrap(err, "reading the attempts of %s", region)
		}
		items = append(items, found...)
	}
	items = slices.DeleteFunc(items, func(i item) bool { return has(i, attrAway) })
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(numberOf(b, attrPriority), numberOf(a, attrPriority)), compareText(a, b, attrID))
	})
	ids := slices.Compact(idsOf(items))
	jobs, err := s.listed(ctx, ids[:min(len(ids), limit)], func(r *record) bool {
		return r.Region == region && r.State.Active() && r.RegionLostAt.IsZero()
	})
	return jobs, wrap(err, "reading the attempts of %s", region)
}

// PlacedSince lists jobs that have been Placed since before the given time,
// oldest first. It reads the places of all placed jobs; they are few, since
// only what has room is placed.
func (s *Store) PlacedSince(ctx context.Context, before time.Time, limit int) ([]job.Job, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return nil, wrap(err, "reading placed jobs")
	}
	var items []item
	for _, list := range v.lists(listPlaced) {
		found, err := s.merged(ctx, query{table: TableState}, s.partitionsOf(list))
		if err != nil {
			return nil, wrap(err, "reading placed jobs")
		}
		items = append(items, found...)
	}
	items = slices.DeleteFunc(items, func(i item) bool { return numberOf(i, attrSince) >= before.UnixNano() })
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(cmp.Compare(numberOf(a, attrSince), numberOf(b, attrSince)), compareText(a, b, attrID))
	})
	items = items[:min(len(items), limit)]
	jobs, err := s.listed(ctx, idsOf(items), func(r *record) bool { return r.State == job.Placed && r.PlacedAt.Before(before) })
	return jobs, wrap(err, "reading placed jobs")
}

// due reads a list that is in the order of a time, up to that time.
func (s *Store) due(ctx context.Context, list string, now time.Time, limit int) ([]job.Job, error) {
	v, err := s.log.fresh(ctx)
	if err != nil || v.empty(list) {
		return nil, err
	}
	return s.within(ctx, list, "", timeKey(now)+afterAll, limit)
}

// Suspended lists jobs that have sat out a lost region for as long as they may.
func (s *Store) Suspended(ctx context.Context, now time.Time, limit int) ([]job.Job, error) {
	jobs, err := s.due(ctx, listSuspended, now, limit)
	return jobs, wrap(err, "reading suspended jobs")
}

// Overdue lists jobs whose deadline has passed and that should be stopped.
func (s *Store) Overdue(ctx context.Context, now time.Time, limit int) ([]job.Job, error) {
	jobs, err := s.due(ctx, listOverdue, now, limit)
	return jobs, wrap(err, "reading overdue jobs")
}

// Expired lists terminal jobs whose record may be removed.
func (s *Store) Expired(ctx context.Context, now time.Time, limit int) ([]job.ID, error) {
	ids, err := s.members(ctx, listEnded, "", timeKey(now)+afterAll, limit)
	return ids, wrap(err, "reading expired jobs")
}
