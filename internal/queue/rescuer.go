package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

const (
	rescuePage = 200
	// endPages bounds what is ended in one round, so that the regions are
	// looked at again soon.
	endPages = 25
)

// rescuer gives back what its region no longer answers for. One round:
//
//  1. A region whose session has not been renewed for Timing.Takeover is
//     lost. The time is the rescuer's own: since it last saw the counter of
//     renewals grow. So a new leader, which has seen nothing grow yet, waits
//     one whole take-over before it expires anyone.
//  2. Attempts of lost regions, and of regions whose agent cannot reach its
//     cluster for longer than a lease, are given back: highest priority
//     first, at most Timing.RecoveryRate a second, so that the recovery of a
//     big region does not drown the others.
//  3. Placements in regions that take no work are taken back, and a draining
//     region's attempts are asked to move.
//  4. Jobs that have sat out the loss of their region for too long fail, and
//     so do jobs past their deadline (where an attempt runs, it is stopped
//     first).
type rescuer struct {
	q     *Queue
	work  chan struct{}
	pace  *rate.Limiter
	mu    sync.Mutex
	sight map[string]sighting
	// cutOff is when a region was first seen to say, without a break, that
	// its cluster cannot be reached.
	cutOff map[string]time.Time
}

// sighting is when a region's counter of renewals was last seen to grow.
type sighting struct {
	epoch, renewals int64
	at              time.Time
}

func newRescuer(q *Queue) *rescuer {
	perSecond := q.Timing.RecoveryRate
	return &rescuer{
		q: q, work: make(chan struct{}, 1), sight: map[string]sighting{}, cutOff: map[string]time.Time{},
		pace: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))),
	}
}

func (r *rescuer) wake() {
	select {
	case r.work <- struct{}{}:
	default:
	}
}

func (r *rescuer) run(ctx context.Context) error {
	ticker := r.q.Clock.NewTicker(r.q.Timing.Tick)
	defer ticker.Stop()
	for {
		if r.q.Leading() {
			if err := r.runOnce(ctx); err != nil && ctx.Err() == nil {
				r.q.Log.Error("rescuing jobs", "error", err)
			}
		} else {
			r.forget()
		}
		select {
		case <-r.work:
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// forget drops all sightings: a process that was not leading has not watched.
func (r *rescuer) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.sight)
	clear(r.cutOff)
}

func (r *rescuer) runOnce(ctx context.Context) error {
	regions, err := r.q.Store.Regions(ctx)
	if err != nil {
		return fmt.Errorf("reading regions: %w", err)
	}
	// Not before the read: what it shows may have happened while it lasted.
	now := r.q.Clock.Now()
	var failed []error
	for _, region := range regions {
		if !region.AwaitedSince.IsZero() {
			// It is not silent, it has not been heard yet: what it holds stays
			// where it is until it has been, or is written off.
			continue
		}
		region, err := r.expire(ctx, region, now)
		if err == nil {
			err = r.rescue(ctx, region, now)
		}
		failed = append(failed, err)
	}
	return errors.Join(append(failed, r.endWaits(ctx, now), r.endOverdue(ctx, now))...)
}

// expire marks a region lost that has been silent for too long.
func (r *rescuer) expire(ctx context.Context, region capacity.Region, now time.Time) (capacity.Region, error) {
	if region.Lease != capacity.LeaseLive || r.silence(region, now) < r.q.Timing.Takeover {
		return region, nil
	}
	lost, err := r.q.Store.ExpireSession(ctx, region.Name, region.Epoch, region.Renewals, now)
	if errors.Is(err, store.ErrConflict) {
		return region, nil
	}
	if err != nil {
		return region, fmt.Errorf("expiring the session of region %s: %w", region.Name, err)
	}
	r.q.Log.Warn("region lost", "region", region.Name, "epoch", region.Epoch, "silent", r.silence(region, now))
	r.q.events.notify("")
	r.q.wakePlacer()
	return lost, nil
}

// silence is for how long this process has not seen the region's counter
// grow.
func (r *rescuer) silence(region capacity.Region, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, ok := r.sight[region.Name]
	if !ok || seen.epoch != region.Epoch || seen.renewals != region.Renewals {
		r.sight[region.Name] = sighting{region.Epoch, region.Renewals, now}
		return 0
	}
	return now.Sub(seen.at)
}

// cutOffFor is for how long this process has seen the region's agent say that
// it cannot reach its cluster.
func (r *rescuer) cutOffFor(region capacity.Region, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if region.UnreachableSince.IsZero() {
		delete(r.cutOff, region.Name)
		return 0
	}
	if _, seen := r.cutOff[region.Name]; !seen {
		r.cutOff[region.Name] = now
	}
	return now.Sub(r.cutOff[region.Name])
}

// late tells whether a region has been silent for longer than its lease, and
// so should get no new work, though it is not lost yet.
func (r *rescuer) late(region capacity.Region, now time.Time) bool {
	return region.Lease == capacity.LeaseLive && r.silence(region, now) > r.q.Timing.Lease
}

func (r *rescuer) rescue(ctx context.Context, region capacity.Region, now time.Time) error {
	lost := region.Lease == capacity.LeaseLost
	unreachable := r.cutOffFor(region, now) > r.q.Timing.Lease
	if lost || unreachable || region.Cordoned {
		if err := r.unplace(ctx, region, now); err != nil {
			return err
		}
	}
	switch {
	case lost:
		return r.recover(ctx, region, "region-lost", "region "+region.Name+" was lost", now)
	case unreachable:
		return r.recover(ctx, region, "cluster-unreachable", "the agent of "+region.Name+" cannot reach its cluster", now)
	case region.Draining:
		return r.drain(ctx, region, now)
	}
	return nil
}

// unplace takes back what the region has not claimed.
func (r *rescuer) unplace(ctx context.Context, region capacity.Region, now time.Time) error {
	event := job.Event{Kind: job.Unplace, Reason: "region-unavailable", Message: "region " + region.Name + " takes no work"}
	for {
		jobs, err := r.q.Store.Placed(ctx, region.Name, store.Position{}, rescuePage)
		if err != nil {
			return fmt.Errorf("listing what was placed in %s: %w", region.Name, err)
		}
		written, err := r.applyAll(ctx, nil, jobs, now, func(job.Job) job.Event { return event })
		if err != nil || len(jobs) < rescuePage || written == 0 {
			return err
		}
	}
}

// recover gives attempts back, as many as the pace allows now. The guard
// makes sure that the region has not come back in between.
func (r *rescuer) recover(ctx context.Context, region capacity.Region, reason, message string, now time.Time) error {
	allowed := min(int(r.pace.TokensAt(now)), rescuePage)
	if allowed < 1 {
		return nil
	}
	jobs, err := r.q.Store.AttemptsByPriority(ctx, region.Name, allowed)
	if err != nil {
		return fmt.Errorf("listing the attempts of %s: %w", region.Name, err)
	}
	r.pace.AllowN(now, len(jobs))
	guard := &store.Guard{Region: region.Name, Epoch: region.Epoch, Lease: region.Lease, Renewals: region.Renewals}
	_, err = r.applyAll(ctx, guard, jobs, now, func(j job.Job) job.Event {
		event := job.Event{Kind: job.LostEvent, Reason: reason, Message: message}
		if j.Spec.OnRegionLost == job.Wait && j.Intent == job.Run {
			event.Kind = job.RegionLost
		}
		return event
	})
	if errors.Is(err, store.ErrStaleSession) {
		return nil
	}
	return err
}

// drain asks a draining region's attempts to move, those that may.
func (r *rescuer) drain(ctx context.Context, region capacity.Region, now time.Time) error {
	for after := job.ID(""); ; {
		attempts, err := r.q.Store.Attempts(ctx, region.Name, after, rescuePage)
		if err != nil {
			return fmt.Errorf("listing the attempts of %s: %w", region.Name, err)
		}
		var movable []job.Job
		for _, j := range attempts {
			after = j.ID
			if j.Intent == job.Run && j.Spec.OnRegionLost == job.Requeue {
				movable = append(movable, j)
			}
		}
		event := job.Event{Kind: job.MoveAsked, Reason: "drained", Message: "region " + region.Name + " is being drained"}
		if _, err := r.applyAll(ctx, nil, movable, now, func(job.Job) job.Event { return event }); err != nil {
			return err
		}
		if len(attempts) < rescuePage {
			return nil
		}
	}
}

// endWaits fails jobs whose region has been away for longer than they wait.
func (r *rescuer) endWaits(ctx context.Context, now time.Time) error {
	return r.endAll(ctx, r.q.Store.Suspended, now, func(j job.Job) job.Event {
		return job.Event{
			Kind: job.LostEvent, Reason: "region-lost", Final: true,
			Message: fmt.Sprintf("region %s did not come back within %s", j.Region, j.Spec.OnRegionLostLimit),
		}
	})
}

// endOverdue ends what is past its deadline.
func (r *rescuer) endOverdue(ctx context.Context, now time.Time) error {
	return r.endAll(ctx, r.q.Store.Overdue, now, func(j job.Job) job.Event {
		if j.State.Active() {
			return job.Event{Kind: job.StopAsked, StopReason: job.ByDeadline, Reason: "deadline"}
		}
		return job.Event{
			Kind: job.Failure, Reason: "deadline",
			Message: fmt.Sprintf("not started within %s of the submission", j.Spec.Deadline),
		}
	})
}

// endAll writes an event for each job of a list of what is due, which it
// thereby leaves.
func (r *rescuer) endAll(
	ctx context.Context, list func(context.Context, time.Time, int) ([]job.Job, error),
	now time.Time, event func(job.Job) job.Event,
) error {
	for range endPages {
		due, err := list(ctx, now, rescuePage)
		if err != nil {
			return fmt.Errorf("listing what is due: %w", err)
		}
		written, err := r.applyAll(ctx, nil, due, now, event)
		if err != nil || len(due) < rescuePage || written == 0 {
			return err
		}
	}
	return nil
}

// applyAll writes one event for each job. A job that someone else changed
// meanwhile is left to the next round; written counts the others.
func (r *rescuer) applyAll(ctx context.Context, guard *store.Guard, jobs []job.Job, now time.Time, event func(job.Job) job.Event) (written int, err error) {
	changes := make([]store.Change, 0, len(jobs))
	for _, j := range jobs {
		next, transition, err := j.Apply(event(j), now)
		if err != nil {
			return 0, err
		}
		changes = append(changes, store.Change{Job: next, Transition: transition})
	}
	errs, err := r.q.commit(ctx, guard, changes)
	if err != nil {
		return 0, fmt.Errorf("writing %d changes: %w", len(changes), err)
	}
	for _, err := range errs {
		if err == nil {
			written++
		}
	}
	return written, nil
}
