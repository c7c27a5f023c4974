package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

// Application is one schedule that somebody makes or changes.
type Application struct {
	// Identity is who asks; the runs are submitted as theirs.
	Identity string
	// Request has the name and the namespace.
	Request api.NewSchedule
	// Namespaces are those that the identity may submit to; empty is all.
	Namespaces []string
	// Faults were found while the request was decoded.
	Faults []job.Fault
}

// ApplySchedule makes a schedule, or changes the one of that name; created
// tells which. It keeps its runs; where the clock itself changes, or a pause
// ends, it begins anew with the ticks to come. The error is *job.Invalid,
// *queue.NotYourNamespace, or a wrapped error of store.
func (f *Flow) ApplySchedule(ctx context.Context, a Application) (s schedule.Schedule, created bool, err error) {
	request := a.Request
	if len(a.Namespaces) > 0 && !slices.Contains(a.Namespaces, request.Namespace) {
		return s, false, &queue.NotYourNamespace{Namespace: request.Namespace, Allowed: a.Namespaces}
	}
	spec := specOf(request)
	faults := slices.Concat(a.Faults, nameFaults(request.Namespace, request.Name), spec.Validate())
	more, err := f.checkWork(ctx, &a)
	if err != nil {
		return s, false, err
	}
	if faults = append(faults, more...); len(faults) > 0 {
		return s, false, &job.Invalid{Faults: faults}
	}
	a.Request.Kind = ""
	document := encode(a.Request)
	for {
		s, created, err = f.apply(ctx, a, spec, document)
		if !errors.Is(err, store.ErrConflict) {
			return s, created, err
		}
	}
}

func specOf(request api.NewSchedule) schedule.Spec {
	return schedule.Spec{
		Cron: request.Cron, TimeZone: request.TimeZone, Missed: schedule.Missed(request.Missed), MissedLimit: request.MissedLimit,
		Concurrency: schedule.Concurrency(request.Concurrency), Paused: request.Paused,
	}.WithDefaults()
}

// checkWork checks what the runs submit, as it would be now.
func (f *Flow) checkWork(ctx context.Context, a *Application) ([]job.Fault, error) {
	request := &a.Request
	switch {
	case request.Job == nil && request.Pipeline == nil:
		return []job.Fault{{Field: "job", Message: "is missing; a schedule submits a job or a pipeline"}}, nil
	case request.Job != nil && request.Pipeline != nil:
		return []job.Fault{{Field: "pipeline", Message: "stands beside a job; a schedule submits one of them"}}, nil
	case request.Job != nil:
		work := *request.Job
		if work.Namespace == "" {
			work.Namespace = request.Namespace
		}
		request.Job = &work
		_, err := f.Queue.Render(ctx, queue.Submission{Identity: a.Identity, Request: work, Namespaces: []string{request.Namespace}})
		return under("job", request.Namespace, err)
	default:
		work := *request.Pipeline
		if work.Namespace == "" {
			work.Namespace = request.Namespace
		}
		if work.Name == "" {
			work.Name = request.Name
		}
		request.Pipeline = &work
		_, err := f.compile(ctx, Submission{Identity: a.Identity, Request: work, Namespaces: []string{request.Namespace}})
		return under("pipeline", request.Namespace, err)
	}
}

// under turns a refusal into faults of a field.
func under(field, namespace string, err error) ([]job.Fault, error) {
	if invalid, ok := errors.AsType[*job.Invalid](err); ok {
		var faults []job.Fault
		for _, fault := range invalid.Faults {
			faults = append(faults, job.Fault{Field: field + "." + fault.Field, Message: fault.Message})
		}
		return faults, nil
	}
	if other, ok := errors.AsType[*queue.NotYourNamespace](err); ok {
		return []job.Fault{{
			Field: field, Message: fmt.Sprintf("is in namespace %q; a schedule submits to its own namespace, %q", shorten(other.Namespace), namespace),
		}}, nil
	}
	return nil, err
}

// apply writes the schedule once, if nobody is faster.
func (f *Flow) apply(ctx context.Context, a Application, spec schedule.Spec, document []byte) (s schedule.Schedule, created bool, err error) {
	name := store.ScheduleName{Namespace: a.Request.Namespace, Name: a.Request.Name}
	s, err = f.settled(ctx, name)
	created = errors.Is(err, store.ErrNotFound)
	if err != nil && !created {
		return s, false, err
	}
	now := f.Clock.Now()
	s.Event = schedule.EventUpdated
	if created {
		s = schedule.Schedule{UID: uuid.NewString(), Namespace: name.Namespace, Name: name.Name, CreatedAt: now, Event: schedule.EventCreated}
	}
	if created || s.Spec.Paused || s.Spec.Cron != spec.Cron || s.Spec.TimeZone != spec.TimeZone {
		s.Since = now
	}
	s.Spec, s.AppliedBy = spec, a.Identity
	c, err := schedule.ParseCron(spec.Cron, spec.TimeZone)
	if err != nil {
		return s, false, fmt.Errorf("reading the clock of schedule %s: %w", name.Name, err)
	}
	s = s.Revised(c, now)
	if s, err = f.putSchedule(ctx, s, document); err != nil {
		return s, false, fmt.Errorf("writing schedule %s: %w", name.Name, err)
	}
	return s, created, nil
}

// putSchedule writes a record with its event, and returns it without.
func (f *Flow) putSchedule(ctx context.Context, s schedule.Schedule, document []byte) (schedule.Schedule, error) {
	if err := f.Store.PutSchedule(ctx, s, document); err != nil {
		return s, err
	}
	if s.Event != "" {
		f.metrics.ran(s.News, s.UpdatedAt)
		f.Queue.Announce()
	}
	s.Event, s.News = "", nil
	return s, nil
}

// settled reads a schedule, and submits first what it had decided to submit:
// a change of what is submitted must not reach a run that is decided.
func (f *Flow) settled(ctx context.Context, name store.ScheduleName) (schedule.Schedule, error) {
	for {
		s, err := f.Store.Schedule(ctx, name)
		if err != nil {
			return s, fmt.Errorf("reading schedule %s: %w", name.Name, err)
		}
		if len(s.Starting()) == 0 {
			return s, nil
		}
		s, err = f.ticker.start(ctx, s)
		if _, full := errors.AsType[*queue.Limited](err); full {
			// There is no job yet, and so no harm in a change.
			return s, nil
		}
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return s, fmt.Errorf("submitting what schedule %s has decided: %w", name.Name, err)
		}
	}
}

// PauseSchedule lets no tick run. ResumeSchedule ends that; the ticks in
// between are not missed, they never were.
func (f *Flow) PauseSchedule(ctx context.Context, name store.ScheduleName) (schedule.Schedule, error) {
	return f.changeSchedule(ctx, name, func(s schedule.Schedule) (schedule.Schedule, bool, error) {
		changed := !s.Spec.Paused
		s.Spec.Paused, s.Event = true, schedule.EventPaused
		return s, changed, nil
	})
}

// ResumeSchedule ends a pause.
func (f *Flow) ResumeSchedule(ctx context.Context, name store.ScheduleName) (schedule.Schedule, error) {
	return f.changeSchedule(ctx, name, func(s schedule.Schedule) (schedule.Schedule, bool, error) {
		changed := s.Spec.Paused
		if changed {
			s.Spec.Paused, s.Since, s.Event = false, f.Clock.Now(), schedule.EventResumed
		}
		return s, changed, nil
	})
}

// RunSchedule submits now what a tick would. The run is that of the newest in
// the record; *schedule.Busy while an earlier one has not ended and the policy
// is forbid.
func (f *Flow) RunSchedule(ctx context.Context, name store.ScheduleName, identity string) (schedule.Schedule, error) {
	id := "by-hand-" + uuid.NewString()
	s, err := f.changeSchedule(ctx, name, func(s schedule.Schedule) (schedule.Schedule, bool, error) {
		observed, err := f.ticker.observe(ctx, s)
		if err != nil {
			return s, false, err
		}
		next, err := observed.RunNow(id, identity, f.Clock.Now())
		if err != nil {
			return s, false, err
		}
		next, err = f.ticker.pin(ctx, next)
		return next, true, err
	})
	if err != nil {
		return s, err
	}
	started, err := f.ticker.start(ctx, s)
	if err == nil {
		err = f.ticker.stop(ctx, started)
	}
	if err != nil {
		// It is decided, and the loop goes on with it.
		f.Log.Warn("submitting a run by hand; it will be tried again", "namespace", name.Namespace, "schedule", name.Name, "error", err)
	}
	return started, nil
}

// changeSchedule writes what a user wishes; it reads again when someone else
// was faster.
func (f *Flow) changeSchedule(
	ctx context.Context, name store.ScheduleName, wish func(schedule.Schedule) (schedule.Schedule, bool, error),
) (schedule.Schedule, error) {
	for {
		s, err := f.Store.Schedule(ctx, name)
		if err != nil {
			return s, fmt.Errorf("reading schedule %s: %w", name.Name, err)
		}
		next, changed, err := wish(s)
		if err != nil || !changed {
			return s, err
		}
		c, err := schedule.ParseCron(s.Spec.Cron, s.Spec.TimeZone)
		if err != nil {
			return s, fmt.Errorf("reading the clock of schedule %s: %w", name.Name, err)
		}
		next = next.Revised(c, f.Clock.Now())
		next, err = f.putSchedule(ctx, next, nil)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return s, fmt.Errorf("changing schedule %s: %w", name.Name, err)
		}
	}
}

// DeleteSchedule removes a schedule; what it has submitted goes on.
func (f *Flow) DeleteSchedule(ctx context.Context, name store.ScheduleName) error {
	for {
		s, err := f.settled(ctx, name)
		if err != nil {
			return err
		}
		s.Version++
		s.UpdatedAt, s.Event = f.Clock.Now(), schedule.EventDeleted
		err = f.Store.DeleteSchedule(ctx, s)
		if err == nil {
			f.Queue.Announce()
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("deleting schedule %s: %w", name.Name, err)
		}
	}
}

// work reads what a schedule submits.
func (f *Flow) work(ctx context.Context, s schedule.Schedule) (api.NewSchedule, error) {
	var document api.NewSchedule
	text, err := f.Store.ScheduleDocument(ctx, store.ScheduleName{Namespace: s.Namespace, Name: s.Name})
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		return document, fmt.Errorf("reading what schedule %s submits: %w", s.Name, err)
	}
	return document, nil
}
