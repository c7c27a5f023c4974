package queue

import (
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

// vainPause keeps a full fleet, which every submission asks again, from
// costing more than the submissions.
const vainPause = 20 * time.Millisecond

// The reasons that a placement is done anew for, and how many times
// Timing.Patience the next region then has: an unclaimed job should not wander
// for as long as nobody takes it.
const (
	reasonUnclaimed   = "unclaimed"
	reasonNoLonger    = "fits-no-longer"
	wanderersPatience = 10
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
//
// Every change wakes the Placer, so most rounds look at the first classes only;
// one each Timing.Tick is thorough: it does 2, and goes through all classes.
// While all that waits fits nowhere, rounds are at least vainPause apart.
type placer struct {
	q *Queue
	// classes and unclaimed are how many records are read at a time.
	classes   int
	unclaimed int

	thoroughAt time.Time
	// passed is how many of the oldest unclaimed placements the last thorough
	// rounds have left where they are.
	passed int
}

func newPlacer(q *Queue) *placer {
	return &placer{q: q, classes: placeClasses, unclaimed: unplacePage}
}

func (p *placer) run(ctx context.Context) error {
	ticker := p.q.Clock.NewTicker(p.q.Timing.Tick)
	defer ticker.Stop()
	for {
		next := rested
		if p.q.Leading() {
			var err error
			if next, err = p.runOnce(ctx); err != nil && ctx.Err() == nil {
				p.q.Log.Error("placing jobs", "error", err)
			}
		}
		switch next {
		case more:
			if ctx.Err() == nil {
				continue
			}
		case vain:
			select {
			case <-p.q.Clock.After(vainPause):
			case <-ctx.Done():
			}
		}
		select {
		case <-p.q.work:
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// outcome says when the next round is due.
type outcome int

const (
	// rested: at the next change.
	rested outcome = iota
	// vain: the same, though not at once, since all that waits fits nowhere.
	vain
	// more: now.
	more
)

// runOnce makes one round, and tells when the next is due.
func (p *placer) runOnce(ctx context.Context) (outcome, error) {
	now := p.q.Clock.Now()
	if _, err := p.q.Store.Wake(ctx, now); err != nil {
		return rested, fmt.Errorf("waking jobs: %w", err)
	}
	thorough := now.Sub(p.thoroughAt) >= p.q.Timing.Tick
	waiting := newLine(p.q.Store, p.classes, thorough)
	if err := waiting.readClasses(ctx); err != nil {
		return rested, err
	}
	var unclaimed []job.Job
	if thorough {
		p.thoroughAt = now
		var err error
		if unclaimed, err = p.impatient(ctx, now); err != nil {
			return rested, err
		}
	}
	if len(waiting.classes) == 0 && len(unclaimed) == 0 {
		p.q.ahead.set(nil)
		return rested, nil
	}
	if missing, err := p.q.census.awaited(ctx); err != nil || len(missing) > 0 {
		return rested, err
	}
	fleet, err := p.q.fleet(ctx, now)
	if err != nil {
		return rested, err
	}
	if err := p.replace(ctx, fleet, unclaimed, now); err != nil {
		return rested, err
	}
	return p.place(ctx, fleet, waiting, now)
}

// place runs down the line until a batch is full or all that is left fits
// nowhere.
func (p *placer) place(ctx context.Context, fleet *placement.Fleet, waiting *line, now time.Time) (outcome, error) {
	var changes []store.Change
	var wanted []store.WaitingClass
	defer func() { p.q.ahead.set(wanted) }()
	next := rested
	for len(changes) < placeBatch {
		class, err := waiting.first(ctx)
		if err != nil {
			return rested, err
		}
		if class == nil {
			break
		}
		request := placement.Request{Demand: class.Demand, Constraints: class.Constraints}
		decision := placement.Decide(request, fleet, p.q.Placement, now)
		if decision.Region == "" && !p.hopeless(decision, class.since(), now) {
			// None of its jobs is read: while a fleet is full, every submission
			// asks again.
			if now.Sub(class.since()) >= p.q.Placement.ReserveAfter {
				fleet.Reserve(request, p.q.Placement, now)
			}
			if class.Constraints.Model != "" && len(wanted) < maxWanted {
				wanted = append(wanted, class.WaitingClass)
			}
			waiting.drop()
			next = vain
			continue
		}
		j, ok, err := waiting.job(ctx, class)
		if err != nil {
			return rested, err
		}
		if !ok {
			continue
		}
		change, err := p.decided(j, decision, now)
		if err != nil {
			return rested, err
		}
		if decision.Region != "" {
			fleet.Take(decision.Region, class.Demand)
		}
		changes = append(changes, change)
		waiting.advance()
	}
	errs, err := p.q.commit(ctx, nil, changes)
	if err != nil {
		return rested, fmt.Errorf("writing placements: %w", err)
	}
	// Where somebody else changed a job, what it was given is free again in the
	// next round.
	changed := slices.ContainsFunc(errs, func(err error) bool { return err != nil })
	switch {
	case changed || len(changes) == placeBatch:
		return more, nil
	case len(changes) > 0:
		return rested, nil
	default:
		return next, nil
	}
}

// hopeless tells of a job that no region could ever hold, once it has waited
// long enough for every region to have been seen.
func (p *placer) hopeless(decision placement.Decision, since, now time.Time) bool {
	return decision.NeverFits() && now.Sub(since) >= p.q.Timing.NeverFitsAfter
}

// decided places a job, or fails it where there is no region.
func (p *placer) decided(j job.Job, decision placement.Decision, now time.Time) (store.Change, error) {
	if decision.Region != "" {
		return placed(j, decision, job.Event{}, now)
	}
	text, err := json.Marshal(decision)
	if err != nil {
		return store.Change{}, fmt.Errorf("encoding a decision: %w", err)
	}
	next, transition, err := j.Apply(job.Event{
		Kind: job.Failure, Reason: "never-fits", Message: decision.Summary(), Decision: text,
	}, now)
	return store.Change{Job: next, Transition: transition}, err
}

// impatient lists placements that their region has not claimed in time,
// oldest first, from where the last round stopped: most that it left alone
// are still there.
func (p *placer) impatient(ctx context.Context, now time.Time) ([]job.Job, error) {
	limit := p.passed + p.unclaimed
	jobs, err := p.q.Store.PlacedSince(ctx, now.Add(-p.q.Timing.Patience), limit)
	if err != nil {
		return nil, fmt.Errorf("listing unclaimed placements: %w", err)
	}
	left := jobs[min(p.passed, len(jobs)):]
	if p.passed += len(left); len(jobs) < limit {
		p.passed = 0
	}
	return left, nil
}

// replace takes back placements whose region has not claimed them in time,
// where another region would do, or this one no longer could.
func (p *placer) replace(ctx context.Context, fleet *placement.Fleet, jobs []job.Job, now time.Time) error {
	type nowhere struct {
		class  capacity.Class
		region string
	}
	staying := map[nowhere]bool{}
	var changes []store.Change
	for _, j := range jobs {
		at := nowhere{j.Spec.Class, j.Region}
		if staying[at] || j.Reason == reasonUnclaimed && now.Sub(j.PlacedAt) < wanderersPatience*p.q.Timing.Patience {
			continue
		}
		change, moves, err := p.anew(ctx, fleet, j, now)
		if err != nil {
			return err
		}
		if !moves {
			staying[at] = true
			continue
		}
		changes = append(changes, change)
	}
	if _, err := p.q.commit(ctx, nil, changes); err != nil {
		return fmt.Errorf("placing anew: %w", err)
	}
	p.passed = max(0, p.passed-len(changes))
	return nil
}

// anew is the change that takes an unclaimed placement back; moves is false
// where it is best left alone.
func (p *placer) anew(ctx context.Context, fleet *placement.Fleet, j job.Job, now time.Time) (change store.Change, moves bool, err error) {
	demand, err := p.q.Store.Demand(ctx, j.Spec.Class)
	if err != nil {
		return store.Change{}, false, fmt.Errorf("reading the demand of job %s: %w", j.ID, err)
	}
	request := placement.Request{Demand: demand, Constraints: j.Spec.Placement, Avoid: []string{j.Region}}
	if decision := placement.Decide(request, fleet, p.q.Placement, now); decision.Region != "" {
		fleet.Take(decision.Region, demand)
		change, err := placed(j, decision, job.Event{
			Reason: reasonUnclaimed, Message: fmt.Sprintf("region %s did not claim it within %s", j.Region, p.q.Timing.Patience),
		}, now)
		return change, true, err
	}
	request.Avoid, request.Constraints.Regions = nil, []string{j.Region}
	decision := placement.Decide(request, fleet, p.q.Placement, now)
	if !decision.NeverFits() {
		return store.Change{}, false, nil
	}
	next, transition, err := j.Apply(job.Event{Kind: job.Unplace, Reason: reasonNoLonger, Message: decision.Summary()}, now)
	return store.Change{Job: next, Transition: transition}, true, err
}

// placed follows a decision; the event says why it had to be made anew.
func placed(j job.Job, decision placement.Decision, event job.Event, now time.Time) (store.Change, error) {
	text, err := json.Marshal(decision)
	if err != nil {
		return store.Change{}, fmt.Errorf("encoding a decision: %w", err)
	}
	event.Kind, event.Region, event.Decision = job.Place, decision.Region, text
	next, transition, err := j.Apply(event, now)
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
	seen := q.Clock.Now()
	inputs := make([]placement.Input, len(regions))
	for i, region := range regions {
		if q.rescuer.late(region, seen) {
			region.Lease = capacity.LeaseLost
		}
		inputs[i] = placement.Input{
			Region: region, Prices: q.Prices[region.Name], Promised: promised[region.Name],
			DrainRate: q.drain.perSecond(region.Name, now),
		}
	}
	return placement.NewFleet(inputs), nil
}
