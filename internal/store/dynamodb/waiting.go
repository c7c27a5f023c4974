package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// classDemand is what placement knows of jobs that it cannot tell apart.
type classDemand struct {
	Demand      capacity.Demand `json:"demand"`
	Constraints job.Constraints `json:"constraints"`
}

const (
	// keepClass is how long a class stays after a job of it was submitted last:
	// longer than two of the longest that a job may live.
	keepClass = 3 * 366 * 24 * time.Hour
	// renewClass is how often a process says that a class is in use.
	renewClass = 24 * time.Hour
	// maxClasses bounds the memory for classes.
	maxClasses = 100_000
)

// classes remembers what this process has read or written of classes.
type classes struct {
	mu   sync.Mutex
	held map[capacity.Class]heldClass
}

type heldClass struct {
	classDemand
	// saidAt is when this process last wrote it.
	saidAt time.Time
}

func (c *classes) find(class capacity.Class) (heldClass, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	held, ok := c.held[class]
	return held, ok
}

func (c *classes) hold(class capacity.Class, held heldClass) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil || len(c.held) >= maxClasses {
		c.held = map[capacity.Class]heldClass{}
	}
	c.held[class] = held
}

const skDemand = "demand"

func classKey(class capacity.Class) item { return at(key(kindClass, string(class)), skDemand) }

// sayClass writes what a class demands, unless this process did so lately.
func (s *Store) sayClass(ctx context.Context, class capacity.Class, d classDemand) error {
	now := s.now()
	if held, ok := s.classes.find(class); ok && now.Sub(held.saidAt) < renewClass {
		return nil
	}
	body, err := packJSON(d)
	if err != nil {
		return err
	}
	i := with(classKey(class), item{attrBody: body, attrTTL: number(now.Add(keepClass).Unix())})
	if _, _, err := s.put(ctx, TableState, i, "", nil); err != nil {
		return fmt.Errorf("writing the demand of class %s: %w", class, err)
	}
	s.classes.hold(class, heldClass{d, now})
	return nil
}

// class reads what a class demands.
func (s *Store) class(ctx context.Context, class capacity.Class) (classDemand, error) {
	if held, ok := s.classes.find(class); ok {
		return held.classDemand, nil
	}
	found, err := s.get(ctx, TableState, classKey(class))
	if err != nil {
		return classDemand{}, err
	}
	var d classDemand
	if err := unpackJSON(found, attrBody, &d); err != nil {
		return classDemand{}, err
	}
	s.classes.hold(class, heldClass{classDemand: d})
	return d, nil
}

// Demand returns what the jobs of a class ask for.
func (s *Store) Demand(ctx context.Context, class capacity.Class) (capacity.Demand, error) {
	d, err := s.class(ctx, class)
	return d.Demand, wrap(err, "reading the demand of class %s", class)
}

// WaitingClasses lists classes with a job that can be placed now.
func (s *Store) WaitingClasses(ctx context.Context, after store.Position, limit int) ([]store.WaitingClass, error) {
	heads, err := s.sureHeads(ctx)
	if err != nil {
		return nil, wrap(err, "reading waiting classes")
	}
	var all []store.WaitingClass
	for class, h := range heads {
		if after.ID == "" || before(after, h.Position) {
			all = append(all, store.WaitingClass{Class: class, Head: h.Position, Since: h.Since})
		}
	}
	slices.SortFunc(all, func(a, b store.WaitingClass) int { return comparePositions(a.Head, b.Head) })
	all = all[:min(len(all), limit)]
	err = each(ctx, len(all), func(ctx context.Context, i int) error {
		d, err := s.class(ctx, all[i].Class)
		all[i].Demand, all[i].Constraints = d.Demand, d.Constraints
		return err
	})
	return all, wrap(err, "reading waiting classes")
}

// sureHeads returns the first waiting job of each class, and looks for those
// that the log only knows to be gone.
func (s *Store) sureHeads(ctx context.Context) (map[capacity.Class]head, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	sure, page := map[capacity.Class]head{}, v.page
	var unsure []capacity.Class
	for class, h := range v.heads {
		if h.Unsure {
			unsure = append(unsure, class)
		} else {
			sure[class] = h
		}
	}
	v.mu.Unlock()
	found := make([]*head, len(unsure))
	err = each(ctx, len(unsure), func(ctx context.Context, i int) (err error) {
		found[i], err = s.firstWaiting(ctx, v, unsure[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, class := range unsure {
		if found[i] == nil {
			continue
		}
		sure[class] = *found[i]
		// What the log has learnt meanwhile may be earlier, or that it has gone.
		if v.page == page {
			v.heads[class] = *found[i]
		}
	}
	return sure, nil
}

// firstWaiting reads the first waiting job of a class; nil is none.
func (s *Store) firstWaiting(ctx context.Context, v *view, class capacity.Class) (*head, error) {
	list := listWaiting + string(class)
	items, err := s.merged(ctx, query{table: TableState, limit: 1}, v.occupied(s, list))
	if err != nil || len(items) == 0 {
		return nil, err
	}
	records, err := s.records(ctx, idsOf(items))
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		return &head{Position: store.Position{Priority: r.Spec.Priority, ID: r.ID}, Since: r.SubmittedAt}, nil
	}
	return nil, nil
}

// Waiting lists jobs of one class that can be placed now, in order.
func (s *Store) Waiting(ctx context.Context, class capacity.Class, after store.Position, limit int) ([]job.Job, error) {
	jobs, err := s.within(ctx, listWaiting+string(class), afterPosition(after), "", limit)
	return jobs, wrap(err, "reading waiting jobs")
}

// Ahead counts the waiting jobs in front of a position, up to limit.
func (s *Store) Ahead(ctx context.Context, position store.Position, limit int) (int, error) {
	if position.ID == "" {
		return 0, nil
	}
	v, err := s.log.fresh(ctx)
	if err != nil {
		return 0, wrap(err, "counting waiting jobs")
	}
	ahead := 0
	for _, list := range v.lists(listWaiting) {
		for _, partition := range v.occupied(s, list) {
			n, err := s.countUntil(ctx, partition, positionKey(position.Priority, position.ID), limit-ahead)
			if err != nil {
				return 0, wrap(err, "counting waiting jobs")
			}
			if ahead += n; ahead >= limit {
				return limit, nil
			}
		}
	}
	return ahead, nil
}

// countUntil counts the items of a partition before a key, up to limit.
func (s *Store) countUntil(ctx context.Context, partition, key string, limit int) (int, error) {
	q := query{table: TableState, pk: partition, to: key[:len(key)-1] + string(key[len(key)-1]-1) + afterAll, limit: limit, count: true}
	count := 0
	var after item
	for {
		_, n, next, err := s.page(ctx, q, after)
		if count += n; err != nil || next == nil || count >= limit {
			return min(count, limit), err
		}
		after = next
	}
}

// wakeStep is how many jobs are woken at a time.
const wakeStep = 200

// Wake makes queued jobs placeable whose NotBefore has passed.
func (s *Store) Wake(ctx context.Context, now time.Time) (next time.Time, err error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return time.Time{}, wrap(err, "reading jobs that wait for their time")
	}
	if v.empty(listLater) {
		return time.Time{}, nil
	}
	for {
		ids, err := s.members(ctx, listLater, "", "", wakeStep)
		if err != nil || len(ids) == 0 {
			return time.Time{}, wrap(err, "reading jobs that wait for their time")
		}
		records, err := s.records(ctx, ids)
		if err != nil {
			return time.Time{}, wrap(err, "reading jobs that wait for their time")
		}
		var due []*record
		for _, id := range ids {
			r := records[id]
			switch {
			case r == nil || r.State != job.Queued || !r.later():
				// Gone since the list was read.
			case !r.NotBefore.After(now):
				due = append(due, r)
			case next.IsZero() || r.NotBefore.Before(next):
				next = r.NotBefore
			}
		}
		if len(due) == 0 {
			return next, nil
		}
		next = time.Time{}
		if err := s.wakeAll(ctx, due); err != nil {
			return time.Time{}, wrap(err, "waking jobs")
		}
	}
}

func (s *Store) wakeAll(ctx context.Context, due []*record) error {
	units := make([]unit, len(due))
	for i, r := range due {
		after := *r
		after.awake, after.stamp = true, s.stamps.next(r.stamp)
		put, err := s.replaceRecord(r, &after)
		if err != nil {
			return err
		}
		e := entry{Stamp: after.stamp, Subject: store.JobSubject(r.ID), Namespace: r.Spec.Namespace, Job: moveOf(r, &after)}
		units[i] = unit{
			actions: append([]types.TransactWriteItem{put, s.tailAction(e)}, s.moveActions(r, &after)...),
			refused: func(int, item) error { return store.ErrConflict },
		}
	}
	for _, err := range s.transact(ctx, nil, units) {
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
