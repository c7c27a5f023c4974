package flow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

// ticker is the leader's loop that keeps schedules. Each round it looks at
// those that are due:
//
//  1. it reads how the runs stand that have not ended;
//  2. schedule decides which ticks run, and that is written;
//  3. it submits what is decided, writes what came of it, and cancels what
//     was replaced.
//
// The time is the leader's: a tick comes once, and on another leader's clock
// it would come a little earlier or later.
type ticker struct{ f *Flow }

func (t *ticker) run(ctx context.Context) error {
	ticks := t.f.Clock.NewTicker(t.f.Tick)
	defer ticks.Stop()
	for {
		if err := t.runOnce(ctx); err != nil && ctx.Err() == nil {
			t.f.Log.Error("keeping schedules", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C():
		}
	}
}

// runOnce looks at every schedule that is due.
func (t *ticker) runOnce(ctx context.Context) error {
	seen := map[store.ScheduleName]bool{}
	for t.f.Queue.Leading() && ctx.Err() == nil {
		due, err := t.f.Store.DueSchedules(ctx, t.f.Clock.Now().Add(time.Nanosecond), len(seen)+dueLimit)
		if err != nil {
			return fmt.Errorf("listing due schedules: %w", err)
		}
		news := false
		for _, s := range due {
			name := store.ScheduleName{Namespace: s.Namespace, Name: s.Name}
			if seen[name] {
				continue
			}
			seen[name], news = true, true
			if err := t.look(ctx, s); err != nil && !errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
				t.f.Log.Warn("keeping a schedule; it will be tried again", "namespace", s.Namespace, "schedule", s.Name, "error", err)
			}
		}
		if !news {
			return nil
		}
	}
	return nil
}

// look takes one schedule as far as it goes now. store.ErrConflict means that
// someone else was faster.
func (t *ticker) look(ctx context.Context, s schedule.Schedule) error {
	c, err := schedule.ParseCron(s.Spec.Cron, s.Spec.TimeZone)
	if err != nil {
		return fmt.Errorf("reading its clock: %w", err)
	}
	now := t.f.Clock.Now()
	next, err := t.observe(ctx, s)
	if err != nil {
		return err
	}
	next, ticked := next.Tick(c, now)
	if ticked {
		if next, err = t.pin(ctx, next); err != nil {
			return err
		}
	}
	if ticked || len(next.Starting()) == 0 {
		if next, err = t.f.putSchedule(ctx, next.Revised(c, now), nil); err != nil {
			return err
		}
	}
	if next, err = t.start(ctx, next); err != nil {
		return err
	}
	return t.stop(ctx, next)
}

// observe reads how the runs stand that have not ended.
func (t *ticker) observe(ctx context.Context, s schedule.Schedule) (schedule.Schedule, error) {
	var jobIDs []job.ID
	var pipelineIDs []pipeline.ID
	for _, r := range s.Open() {
		if r.Job != "" {
			jobIDs = append(jobIDs, r.Job)
		} else {
			pipelineIDs = append(pipelineIDs, r.Pipeline)
		}
	}
	jobs, err := t.f.Store.JobsByID(ctx, jobIDs)
	if err != nil {
		return s, fmt.Errorf("reading the jobs of schedule %s: %w", s.Name, err)
	}
	pipelines, err := t.f.Store.PipelinesByID(ctx, pipelineIDs)
	if err != nil {
		return s, fmt.Errorf("reading the pipelines of schedule %s: %w", s.Name, err)
	}
	ends := map[string]schedule.Outcome{}
	for _, r := range s.Open() {
		ends[r.ID] = OutcomeOf(r, jobs, pipelines)
	}
	next, _ := s.Observe(ends)
	return next, nil
}

// OutcomeOf is how a run stands whose job or pipeline is among those that were
// read.
func OutcomeOf(r schedule.Run, jobs map[job.ID]job.Job, pipelines map[pipeline.ID]pipeline.Pipeline) schedule.Outcome {
	if r.Outcome != schedule.Submitted {
		return r.Outcome
	}
	state, terminal := "", false
	if j, exists := jobs[r.Job]; exists {
		state, terminal = string(j.State), j.State.Terminal()
	} else if p, exists := pipelines[r.Pipeline]; exists {
		state, terminal = string(p.State), p.State.Terminal()
	}
	switch {
	case state == "":
		return schedule.Gone
	case !terminal:
		return schedule.Submitted
	default:
		// The final states have the same words.
		return schedule.Outcome(state)
	}
}

// pin fixes the version of the template for runs that were decided just now:
// whoever submits them submits the same.
func (t *ticker) pin(ctx context.Context, s schedule.Schedule) (schedule.Schedule, error) {
	if len(s.Starting()) == 0 {
		return s, nil
	}
	document, err := t.f.work(ctx, s)
	if err != nil || document.Job == nil || document.Job.Template == nil || document.Job.Template.Version != 0 {
		return s, err
	}
	version, err := t.f.templateVersion(ctx, document.Job.Template.Name)
	if errors.Is(err, store.ErrNotFound) {
		// The submission says so.
		return s, nil
	}
	return s.Pin(version), err
}

// start submits the runs that are starting, and writes what came of it.
func (t *ticker) start(ctx context.Context, s schedule.Schedule) (schedule.Schedule, error) {
	starting := s.Starting()
	if len(starting) == 0 {
		return s, nil
	}
	document, err := t.f.work(ctx, s)
	if err != nil {
		return s, err
	}
	var troubles []error
	for _, i := range starting {
		id, pipelineID, err := t.submit(ctx, s, s.Runs[i], document)
		why, never := refusalOf(err)
		switch {
		case err == nil:
			s = s.Started(i, id, pipelineID)
		case never:
			s = s.Refused(i, why.reason, why.message)
		default:
			troubles = append(troubles, fmt.Errorf("submitting the run %s: %w", s.Runs[i].ID, err))
		}
	}
	c, err := schedule.ParseCron(s.Spec.Cron, s.Spec.TimeZone)
	if err != nil {
		return s, fmt.Errorf("reading its clock: %w", err)
	}
	now := t.f.Clock.Now()
	s = s.Revised(c, now)
	if len(troubles) > 0 {
		s.DueAt = now.Add(duePause)
	}
	s, err = t.f.putSchedule(ctx, s, nil)
	return s, errors.Join(append(troubles, err)...)
}

// submit submits one run. Its key makes it happen once.
func (t *ticker) submit(ctx context.Context, s schedule.Schedule, r schedule.Run, document api.NewSchedule) (job.ID, pipeline.ID, error) {
	key := fmt.Sprintf("schedule/%s/%s", s.UID, r.ID)
	namespaces := []string{s.Namespace}
	if document.Pipeline != nil {
		p, _, err := t.f.SubmitPipeline(ctx, Submission{Identity: s.AppliedBy, Key: key, Request: *document.Pipeline, Namespaces: namespaces})
		return "", p.ID, err
	}
	request := *document.Job
	if r.TemplateVersion != 0 {
		request.Template = &api.TemplateRef{Name: request.Template.Name, Version: r.TemplateVersion}
	}
	result := t.f.Queue.Submit(ctx, []queue.Submission{{Identity: s.AppliedBy, Key: key, Request: request, Namespaces: namespaces}})[0]
	return result.Job.ID, "", result.Err
}

// stop cancels what was replaced.
func (t *ticker) stop(ctx context.Context, s schedule.Schedule) error {
	for _, r := range s.ToStop() {
		if r.Job != "" {
			if err := cancel(ctx, t.f.Queue, r.Job); err != nil {
				return err
			}
			continue
		}
		_, err := t.f.CancelPipeline(ctx, r.Pipeline)
		if _, ended := errors.AsType[*pipeline.NotAllowed](err); !ended && ignoring(err, store.ErrNotFound) != nil {
			return err
		}
	}
	return nil
}
