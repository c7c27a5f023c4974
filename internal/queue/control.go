package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// keepKeys is the least time that an idempotency key outlives its
// submission.
const keepKeys = 24 * time.Hour

// Cancel stops a job in any state that is not terminal: at once when no
// region has taken it, else by its intent. Cancelling again changes nothing.
// The error for a terminal job is *job.NotAllowed.
func (q *Queue) Cancel(ctx context.Context, id job.ID) (job.Job, error) {
	j, err := q.update(ctx, id, func(j job.Job) (job.Event, bool) {
		event := job.Event{StopReason: job.ByCancel, Reason: "cancelled", Message: "cancelled by a user"}
		event.Kind = job.Stopped
		if j.State.Active() {
			event.Kind = job.StopAsked
		}
		return event, j.StopReason != job.ByCancel || j.State.Terminal()
	})
	if refused, ok := errors.AsType[*job.NotAllowed](err); ok {
		refused.Event = "cancel"
	}
	return j, err
}

// Retry submits a terminal job's manifest and options again, as a new job
// that names its origin.
func (q *Queue) Retry(ctx context.Context, identity string, id job.ID) (job.Job, error) {
	origin, err := q.Store.Job(ctx, id)
	if err != nil {
		return job.Job{}, fmt.Errorf("reading job %s: %w", id, err)
	}
	if !origin.State.Terminal() {
		return job.Job{}, &job.NotAllowed{Job: id, State: origin.State, Event: "retry"}
	}
	text, err := q.Store.Manifest(ctx, id)
	if err != nil {
		return job.Job{}, fmt.Errorf("reading the manifest of job %s: %w", id, err)
	}
	demand, err := q.Store.Demand(ctx, origin.Spec.Class)
	if err != nil {
		return job.Job{}, fmt.Errorf("reading the demand of job %s: %w", id, err)
	}
	now := q.Clock.Now()
	if err := q.submissions.take(identity, 1, now); err != nil {
		return job.Job{}, err
	}
	spec := origin.Spec
	spec.RetryOf, spec.SubmittedBy = id, identity
	result := q.insert(ctx, []store.Submission{q.newSubmission(spec, demand, text, Submission{Identity: identity}, now)})[0]
	return result.Job, result.Err
}

// Delete removes the record of a terminal job. The error for any other is
// *job.NotAllowed.
func (q *Queue) Delete(ctx context.Context, id job.ID) error {
	record, err := q.Store.Job(ctx, id)
	if err != nil {
		return fmt.Errorf("reading job %s: %w", id, err)
	}
	if !record.State.Terminal() {
		return &job.NotAllowed{Job: id, State: record.State, Event: "delete"}
	}
	q.Pruned(ctx, []job.ID{id})
	errs, err := q.Store.Delete(ctx, []job.ID{id}, q.Clock.Now(), keepKeys)
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("deleting job %s: %w", id, err)
	}
	return nil
}

// Cordon keeps new work out of a region; what runs there goes on.
func (q *Queue) Cordon(ctx context.Context, region string) (capacity.Region, error) {
	return q.setSchedulable(ctx, region, true, false)
}

// Uncordon ends a Cordon or a Drain.
func (q *Queue) Uncordon(ctx context.Context, region string) (capacity.Region, error) {
	return q.setSchedulable(ctx, region, false, false)
}

// Drain cordons a region and moves its jobs away, except those that asked
// not to be run twice (OnRegionLost fail or wait).
func (q *Queue) Drain(ctx context.Context, region string) (capacity.Region, error) {
	return q.setSchedulable(ctx, region, true, true)
}

func (q *Queue) setSchedulable(ctx context.Context, region string, cordoned, draining bool) (capacity.Region, error) {
	r, err := q.Store.SetSchedulable(ctx, region, cordoned, draining, q.Clock.Now())
	if err != nil {
		return capacity.Region{}, fmt.Errorf("changing region %s: %w", region, err)
	}
	q.events.notify("")
	q.regions.notify(region)
	q.wakePlacer()
	q.rescuer.wake()
	return r, nil
}

// update applies one event to one job, reading again when someone else was
// faster. decide returns false where nothing is to be done.
func (q *Queue) update(ctx context.Context, id job.ID, decide func(job.Job) (job.Event, bool)) (job.Job, error) {
	for {
		before, err := q.Store.Job(ctx, id)
		if err != nil {
			return job.Job{}, fmt.Errorf("reading job %s: %w", id, err)
		}
		event, wanted := decide(before)
		if !wanted {
			return before, nil
		}
		after, transition, err := before.Apply(event, q.Clock.Now())
		if err != nil {
			return job.Job{}, err
		}
		errs, err := q.commit(ctx, nil, []store.Change{{Job: after, Transition: transition}})
		if err != nil {
			return job.Job{}, fmt.Errorf("changing job %s: %w", id, err)
		}
		if errs[0] == nil {
			return after, nil
		}
		if !errors.Is(errs[0], store.ErrConflict) {
			return job.Job{}, fmt.Errorf("changing job %s: %w", id, errs[0])
		}
	}
}
