package queue

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/store"
)

// Bounds of one round of the Placer.
const (
	placeClasses = 1000
	placePage    = 256
	placeBatch   = 1024
	unplacePage  = 500
)

// placer decides where queued jobs go. One round:
//
//  1. Jobs whose pause is over become placeable.
//  2. Placements that their region does not take up are taken back.
//  3. The fleet is read: what each region reports as free, less what it was
//     promised and cannot know yet. All of it comes from the store, so a new
//     leader goes on where the last one stopped.
//  4. Classes of waiting jobs are merged in the order of their first jobs:
//     priority, then age. A class whose first job fits nowhere is set aside
//     for the round, so it holds nobody up; but if that job has waited longer
//     than Policy.ReserveAfter, capacity is withheld for it.
//  5. Decisions are written in batches, each conditional on the job's version.
type placer struct{ q *Queue }

func (p *placer) run(ctx context.Context) error {
	ticker := p.q.Clock.NewTicker(p.q.Timing.Tick)
	defer ticker.Stop()
	for {
		more := false
		if p.q.Leading() {
			var err error
			if more, err = p.runOnce(ctx); err != nil && ctx.Err() == nil {
				p.q.Log.Error("placing jobs", "error", err)
			}
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-p.q.work:
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// runOnce makes one round, and tells whether there is more to place at once.
func (p *placer) runOnce(ctx context.Context) (more bool, err error) {
	now := p.q.Clock.Now()
	if _, err := p.q.Store.Wake(ctx, now); err != nil {
		return false, fmt.Errorf("waking jobs: %w", err)
	}
	classes, err := p.q.Store.WaitingClasses(ctx, store.Position{}, placeClasses)
	if err != nil {
		return false, fmt.Errorf("listing waiting classes: %w", err)
	}
	impatient, err := p.q.Store.PlacedSince(ctx, now.Add(-p.q.Timing.Patience), unplacePage)
	if err != nil {
		return false, fmt.Errorf("listing unclaimed placements: %w", err)
	}
	if len(classes) == 0 && len(impatient) == 0 {
		return false, nil
	}
	fleet, err := p.q.fleet(ctx, now)
	if err != nil {
		return false, err
	}
	if err := p.replace(ctx, fleet, impatient, now); err != nil {
		return false, err
	}
	return p.place(ctx, fleet, classes, now)
}

// place runs down the waiting classes until a batch is full or all that is
// left fits nowhere.
func (p *placer) place(ctx context.Context, fleet *placement.Fleet, classes []store.WaitingClass, now time.Time) (bool, error) {
	queue := make(classHeap, len(classes))
	for i, class := range classes {
		queue[i] = &classCursor{WaitingClass: class}
	}
	heap.Init(&queue)
	var changes []store.Change
	for len(queue) > 0 && len(changes) < placeBatch {
		class := queue[0]
		request := placement.Request{Demand: class.Demand, Constraints: class.Constraints}
		decision := placement.Decide(request, fleet, p.q.Placement, now)
		if decision.Region == "" && class.after == (store.Position{}) && !p.overdue(class.Since, now) {
			// Nothing would be done for its first job, so no page of them is
			// read: while a fleet is full, every submission asks again.
			heap.Pop(&queue)
			continue
		}
		j, ok, err := p.next(ctx, class)
		if err != nil {
			return false, err
		}
		if !ok {
			heap.Pop(&queue)
			continue
		}
		if decision.Region == "" {
			if change, failed := p.neverFits(j, decision, now); failed {
				changes = append(changes, change)
				class.advance(&queue)
				continue
			}
			if now.Sub(j.SubmittedAt) >= p.q.Placement.ReserveAfter {
				fleet.Reserve(request, p.q.Placement, now)
			}
			heap.Pop(&queue)
			continue
		}
		change, err := placed(j, decision, now)
		if err != nil {
			return false, err
		}
		fleet.Take(decision.Region, class.Demand)
		changes = append(changes, change)
		class.advance(&queue)
	}
	errs, err := p.q.commit(ctx, nil, changes)
	if err != nil {
		return false, fmt.Errorf("writing placements: %w", err)
	}
	// Where somebody else changed a job, what it was given is free again in the
	// next round.
	changed := slices.ContainsFunc(errs, func(err error) bool { return err != nil })
	return changed || len(changes) == placeBatch, nil
}

// next is the class's first job that has not been looked at in this round.
func (p *placer) next(ctx context.Context, class *classCursor) (job.Job, bool, error) {
	if len(class.page) == 0 && !class.drained {
		page, err := p.q.Store.Waiting(ctx, class.Class, class.after, placePage)
		if err != nil {
			return job.Job{}, false, fmt.Errorf("listing waiting jobs: %w", err)
		}
		class.page, class.drained = page, len(page) < placePage
		if len(page) > 0 {
			last := page[len(page)-1]
			class.after = store.Position{Priority: last.Spec.Priority, ID: last.ID}
		}
	}
	if len(class.page) == 0 {
		return job.Job{}, false, nil
	}
	return class.page[0], true, nil
}

// overdue tells whether a job that fits nowhere has waited long enough for
// something to be done about it.
func (p *placer) overdue(since, now time.Time) bool {
	return now.Sub(since) >= min(p.q.Placement.ReserveAfter, p.q.Timing.NeverFitsAfter)
}

// neverFits fails a job that no region could ever hold, once it has waited
// long enough for every region to have been seen.
func (p *placer) neverFits(j job.Job, decision placement.Decision, now time.Time) (store.Change, bool) {
	if !decision.NeverFits() || now.Sub(j.SubmittedAt) < p.q.Timing.NeverFitsAfter {
		return store.Change{}, false
	}
	next, transition, err := j.Apply(job.Event{
		Kind: job.Failure, Reason: "never-fits", Message: decision.Summary(),
	}, now)
	return store.Change{Job: next, Transition: transition}, err == nil
}

// replace takes back placements whose region has not claimed them in time,
// where another region would do, or this one no longer does.
func (p *placer) replace(ctx context.Context, fleet *placement.Fleet, jobs []job.Job, now time.Time) error {
	var changes []store.Change
	for _, j := range jobs {
		demand, err := p.q.Store.Demand(ctx, j.Spec.Class)
		if err != nil {
			return fmt.Errorf("reading the demand of job %s: %w", j.ID, err)
		}
		request := placement.Request{Demand: demand, Constraints: j.Spec.Placement, Avoid: []string{j.Region}}
		decision := placement.Decide(request, fleet, p.q.Placement, now)
		if decision.Region == "" {
			continue
		}
		change, err := placed(j, decision, now)
		if err != nil {
			return err
		}
		fleet.Take(decision.Region, demand)
		changes = append(changes, change)
	}
	if _, err := p.q.commit(ctx, nil, changes); err != nil {
		return fmt.Errorf("placing anew: %w", err)
	}
	return nil
}

func placed(j job.Job, decision placement.Decision, now time.Time) (store.Change, error) {
	text, err := json.Marshal(decision)
	if err != nil {
		return store.Change{}, fmt.Errorf("encoding a decision: %w", err)
	}
	next, transition, err := j.Apply(job.Event{Kind: job.Place, Region: decision.Region, Decision: text}, now)
	return store.Change{Job: next, Transition: transition}, err
}

// fleet reads every region with what it was promised. The promises are read
// first: what turns from a promise into a report in between counts twice,
// never not at all.
func (q *Queue) fleet(ctx context.Context, now time.Time) (*placement.Fleet, error) {
	promises, err := q.Store.Promises(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading promises: %w", err)
	}
	promised := map[string][]placement.Promised{}
	for _, promise := range promises {
		promised[promise.Region] = append(promised[promise.Region],
			placement.Promised{Demand: promise.Demand, Count: promise.Count})
	}
	regions, err := q.Store.Regions(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading regions: %w", err)
	}
	inputs := make([]placement.Input, len(regions))
	for i, region := range regions {
		if q.rescuer.late(region, now) {
			region.Lease = capacity.LeaseLost
		}
		inputs[i] = placement.Input{
			Region: region, Prices: q.Prices[region.Name], Promised: promised[region.Name],
			DrainRate: q.drain.perSecond(region.Name, now),
		}
	}
	return placement.NewFleet(inputs), nil
}

// classCursor walks the waiting jobs of one class.
type classCursor struct {
	store.WaitingClass
	page    []job.Job
	after   store.Position
	drained bool
}

// head is the position of the next job, as far as it is known.
func (c *classCursor) head() store.Position {
	if len(c.page) > 0 {
		return store.Position{Priority: c.page[0].Spec.Priority, ID: c.page[0].ID}
	}
	if c.after != (store.Position{}) {
		return c.after
	}
	return c.Head
}

// advance goes to the next job; c must be the first of the heap.
func (c *classCursor) advance(queue *classHeap) {
	c.page = c.page[1:]
	heap.Fix(queue, 0)
}

// classHeap orders classes by their next job: higher priority, then older.
type classHeap []*classCursor

func (h classHeap) Len() int      { return len(h) }
func (h classHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h classHeap) Less(i, j int) bool {
	return before(h[i].head(), h[j].head())
}
func (h *classHeap) Push(x any) { *h = append(*h, x.(*classCursor)) }
func (h *classHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// before tells whether a is ahead of b among waiting jobs.
func before(a, b store.Position) bool {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.ID, b.ID)) < 0
}
