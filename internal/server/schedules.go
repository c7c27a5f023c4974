package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/flow"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

var newScheduleShape = shapeOf[api.NewSchedule]().withoutRequired()

// scheduleName reads the name in the path. What the caller may not see does
// not exist.
func (c *call) scheduleName() (store.ScheduleName, error) {
	name := store.ScheduleName{Namespace: c.r.PathValue("namespace"), Name: c.r.PathValue("name")}
	if !c.who.sees(name.Namespace) {
		return name, newProblem(api.ProblemNotFound, "there is no schedule %s/%s, or it is not for this token",
			shorten([]byte(name.Namespace)), shorten([]byte(name.Name)))
	}
	return name, nil
}

// applySchedule makes or changes one.
func (c *call) applySchedule() error {
	name := store.ScheduleName{Namespace: c.r.PathValue("namespace"), Name: c.r.PathValue("name")}
	if _, err := c.contentType(); err != nil {
		return err
	}
	application := flow.Application{Identity: c.who.name, Namespaces: c.who.namespaces}
	err := c.read(func(text []byte) (err error) {
		application.Faults, err = decodeStrict(text, newScheduleShape, &application.Request)
		return malformedBody(err)
	})
	if err != nil {
		return err
	}
	for _, part := range []struct {
		field string
		text  *string
		path  string
	}{{"namespace", &application.Request.Namespace, name.Namespace}, {"name", &application.Request.Name, name.Name}} {
		if *part.text != "" && *part.text != part.path {
			application.Faults = append(application.Faults, job.Fault{
				Field: part.field, Message: fmt.Sprintf("is %q, and the path says %q", shorten([]byte(*part.text)), shorten([]byte(part.path))),
			})
		}
		*part.text = part.path
	}
	s, created, err := c.flow.ApplySchedule(c.r.Context(), application)
	if err != nil {
		return err
	}
	if created {
		c.w.Header().Set("Location", "/api/v1/schedules/"+s.Namespace+"/"+s.Name)
		return c.answerSchedule(http.StatusCreated, s)
	}
	return c.answerSchedule(http.StatusOK, s)
}

func (c *call) answerSchedule(status int, s schedule.Schedule) error {
	wire, err := c.schedulesOnWire([]schedule.Schedule{s})
	if err != nil {
		return err
	}
	return c.json(status, wire[0])
}

// showSchedule answers the record with what its runs submit.
func (c *call) showSchedule() error {
	name, err := c.scheduleName()
	if err != nil {
		return err
	}
	s, err := c.store.Schedule(c.r.Context(), name)
	if err != nil {
		return fmt.Errorf("reading schedule %s: %w", name.Name, err)
	}
	wire, err := c.schedulesOnWire([]schedule.Schedule{s})
	if err != nil {
		return err
	}
	if wire[0].Definition, err = c.store.ScheduleDocument(c.r.Context(), name); err != nil {
		return fmt.Errorf("reading the document of schedule %s: %w", name.Name, err)
	}
	return c.json(http.StatusOK, wire[0])
}

func (c *call) deleteSchedule() error {
	name, err := c.scheduleName()
	if err != nil {
		return err
	}
	if err := c.flow.DeleteSchedule(c.r.Context(), name); err != nil {
		return err
	}
	return c.nothing()
}

func (c *call) pauseSchedule() error  { return c.changeSchedule(c.flow.PauseSchedule) }
func (c *call) resumeSchedule() error { return c.changeSchedule(c.flow.ResumeSchedule) }

func (c *call) runSchedule() error {
	return c.changeSchedule(func(ctx context.Context, name store.ScheduleName) (schedule.Schedule, error) {
		return c.flow.RunSchedule(ctx, name, c.who.name)
	})
}

func (c *call) changeSchedule(do func(context.Context, store.ScheduleName) (schedule.Schedule, error)) error {
	name, err := c.scheduleName()
	if err == nil {
		err = c.noBody()
	}
	if err != nil {
		return err
	}
	s, err := do(c.r.Context(), name)
	if err != nil {
		return err
	}
	return c.answerSchedule(http.StatusOK, s)
}

// listSchedules answers one page, by namespace and name.
func (c *call) listSchedules() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	namespaces, none := c.who.scope(q.text("namespace"))
	query := store.ScheduleQuery{Namespaces: namespaces, Limit: q.whole("limit", defaultLimit, 1, maxLimit)}
	if err := q.err(); err != nil {
		return err
	}
	mark := listMark("schedules", query.Namespaces)
	if cursor := q.text("cursor"); cursor != "" {
		of, position, ok := readCursor(cursor)
		namespace, name, found := strings.Cut(position, "/")
		if !ok || !found || of != mark {
			return newProblem(api.ProblemBadCursor, "the cursor is not from a list with these filters; start without one")
		}
		query.After = store.ScheduleName{Namespace: namespace, Name: name}
	}
	list := api.ScheduleList{Items: []api.Schedule{}}
	if none {
		return c.json(http.StatusOK, list)
	}
	page, err := c.store.Schedules(c.r.Context(), query)
	if err != nil {
		return fmt.Errorf("listing schedules: %w", err)
	}
	if list.Items, err = c.schedulesOnWire(page.Schedules); err != nil {
		return err
	}
	if page.More {
		list.NextCursor = writeCursor(mark, page.Next.Namespace+"/"+page.Next.Name)
	}
	return c.json(http.StatusOK, list)
}

// schedulesOnWire are records as the API shows them, without definition, and
// with their runs as they stand now.
func (c *call) schedulesOnWire(all []schedule.Schedule) ([]api.Schedule, error) {
	var jobIDs []job.ID
	var pipelineIDs []pipeline.ID
	for _, s := range all {
		for _, r := range s.Open() {
			if r.Job != "" {
				jobIDs = append(jobIDs, r.Job)
			} else {
				pipelineIDs = append(pipelineIDs, r.Pipeline)
			}
		}
	}
	jobs, err := c.store.JobsByID(c.r.Context(), jobIDs)
	if err != nil {
		return nil, fmt.Errorf("reading the jobs of schedules: %w", err)
	}
	pipelines, err := c.store.PipelinesByID(c.r.Context(), pipelineIDs)
	if err != nil {
		return nil, fmt.Errorf("reading the pipelines of schedules: %w", err)
	}
	out := make([]api.Schedule, len(all))
	for i, s := range all {
		out[i] = scheduleOnWire(s)
		for k, r := range s.Runs {
			out[i].Runs[k].Outcome = string(flow.OutcomeOf(r, jobs, pipelines))
		}
	}
	return out, nil
}

func scheduleOnWire(s schedule.Schedule) api.Schedule {
	return api.Schedule{
		Namespace: s.Namespace, Name: s.Name, Cron: s.Spec.Cron, TimeZone: s.Spec.TimeZone,
		Missed: string(s.Spec.Missed), MissedLimit: s.Spec.MissedLimit, Concurrency: string(s.Spec.Concurrency), Paused: s.Spec.Paused,
		AppliedBy: s.AppliedBy, Version: s.Version, Next: timeOnWire(s.Next),
		CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(), Runs: runsOnWire(s.Runs),
	}
}

func runsOnWire(runs []schedule.Run) []api.ScheduleRun {
	out := make([]api.ScheduleRun, len(runs))
	for i, r := range runs {
		out[i] = api.ScheduleRun{
			ID: r.ID, Tick: timeOnWire(r.Tick), By: r.By, Outcome: string(r.Outcome), JobID: string(r.Job), PipelineID: string(r.Pipeline),
			Reason: r.Reason, Message: r.Message, At: r.At.UTC(),
		}
	}
	return out
}
