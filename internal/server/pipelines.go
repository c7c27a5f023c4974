package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/flow"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/store"
)

var newPipelineShape = shapeOf[api.NewPipeline]().withoutRequired()

// submitPipeline takes one pipeline.
func (c *call) submitPipeline() error {
	key, err := idempotencyKey(c.r.Header.Values("Idempotency-Key"))
	if err != nil {
		return err
	}
	if _, err := c.contentType(); err != nil {
		return err
	}
	submission := flow.Submission{Identity: c.who.name, Key: key, Namespaces: c.who.namespaces}
	err = c.read(func(text []byte) (err error) {
		submission.Faults, err = decodeStrict(text, newPipelineShape, &submission.Request)
		return malformedBody(err)
	})
	if err != nil {
		return err
	}
	p, created, err := c.flow.SubmitPipeline(c.r.Context(), submission)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if !created {
		status = http.StatusOK
		c.w.Header().Set("Idempotent-Replay", "true")
	}
	c.w.Header().Set("Location", "/api/v1/pipelines/"+string(p.ID))
	return c.json(status, pipelineOnWire(p, nil))
}

// pipeline reads the pipeline in the path, if the caller may see it.
func (c *call) pipeline() (pipeline.Pipeline, error) {
	id, err := pipeline.ParseID(c.r.PathValue("id"))
	if err != nil {
		return pipeline.Pipeline{}, newProblem(api.ProblemNotFound, "there is no pipeline %q; an ID is a UUID", shorten([]byte(c.r.PathValue("id"))))
	}
	p, err := c.store.Pipeline(c.r.Context(), id)
	if err != nil {
		return p, fmt.Errorf("reading pipeline %s: %w", id, err)
	}
	if !c.who.sees(p.Namespace) {
		return p, newProblem(api.ProblemNotFound, "there is no pipeline %s, or it is not for this token", id)
	}
	return p, nil
}

// showPipeline answers the record with what its steps submit.
func (c *call) showPipeline() error {
	p, err := c.pipeline()
	if err != nil {
		return err
	}
	jobs, err := c.store.JobsByID(c.r.Context(), p.Jobs())
	if err != nil {
		return fmt.Errorf("reading the jobs of pipeline %s: %w", p.ID, err)
	}
	wire := pipelineOnWire(p, jobs)
	if wire.Definition, err = c.store.PipelineDocument(c.r.Context(), p.ID); err != nil {
		return fmt.Errorf("reading the document of pipeline %s: %w", p.ID, err)
	}
	return c.json(http.StatusOK, wire)
}

func (c *call) cancelPipeline() error { return c.changePipeline(c.flow.CancelPipeline) }
func (c *call) retryPipeline() error  { return c.changePipeline(c.flow.RetryPipeline) }

func (c *call) changePipeline(do func(context.Context, pipeline.ID) (pipeline.Pipeline, error)) error {
	p, err := c.pipeline()
	if err == nil {
		err = c.noBody()
	}
	if err != nil {
		return err
	}
	if p, err = do(c.r.Context(), p.ID); err != nil {
		return err
	}
	return c.json(http.StatusOK, pipelineOnWire(p, nil))
}

// listPipelines answers one page, newest first.
func (c *call) listPipelines() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	namespaces, none := c.who.scope(q.text("namespace"))
	query := store.PipelineQuery{Namespaces: namespaces, Limit: q.whole("limit", defaultLimit, 1, maxLimit)}
	for _, text := range q.values["state"] {
		state := pipeline.State(text)
		if !state.Valid() {
			q.fault("state", "%q is not one of %v", shorten([]byte(text)), pipeline.States)
		}
		query.States = append(query.States, state)
	}
	if err := q.err(); err != nil {
		return err
	}
	mark := listMark("pipelines", query.Namespaces, query.States)
	if cursor := q.text("cursor"); cursor != "" {
		of, position, ok := readCursor(cursor)
		id, err := pipeline.ParseID(position)
		if !ok || err != nil || of != mark {
			return newProblem(api.ProblemBadCursor, "the cursor is not from a list with these filters; start without one")
		}
		query.Before = id
	}
	list := api.PipelineList{Items: []api.Pipeline{}}
	if none {
		return c.json(http.StatusOK, list)
	}
	page, err := c.store.Pipelines(c.r.Context(), query)
	if err != nil {
		return fmt.Errorf("listing pipelines: %w", err)
	}
	for _, p := range page.Pipelines {
		list.Items = append(list.Items, pipelineOnWire(p, nil))
	}
	if page.More {
		list.NextCursor = writeCursor(mark, string(page.Next))
	}
	return c.json(http.StatusOK, list)
}

// listMark is the same for the pages of one list with its filters, and for no
// other.
func listMark(list string, filters ...any) string {
	text, err := json.Marshal(append([]any{list}, filters...))
	if err != nil {
		panic("server: filters that JSON cannot hold: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// pipelineOnWire is the record as the API shows it, without definition; jobs
// are those whose state is to be shown.
func pipelineOnWire(p pipeline.Pipeline, jobs map[job.ID]job.Job) api.Pipeline {
	out := api.Pipeline{
		ID: string(p.ID), Namespace: p.Namespace, Name: p.Name, State: string(p.State), SubmittedBy: p.SubmittedBy,
		Version: p.Version, Stopping: p.Stopping && !p.State.Terminal(), Run: p.Run, Message: p.Message,
		Steps: make([]api.Step, len(p.Steps)), SubmittedAt: p.SubmittedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(), FinishedAt: timeOnWire(p.FinishedAt),
	}
	if p.State.Terminal() {
		out.ExpiresAt = timeOnWire(p.FinishedAt.Add(pipeline.Keep))
	}
	for i, s := range p.Steps {
		out.Steps[i] = stepOnWire(s, jobs)
	}
	return out
}

func stepOnWire(s pipeline.Step, jobs map[job.ID]job.Job) api.Step {
	out := api.Step{
		Name: s.Name, State: string(s.State), Run: s.Run, JobID: string(s.Job), Outputs: s.Outputs,
		Reason: s.Reason, Message: s.Message, Cause: s.Cause, StartedAt: timeOnWire(s.StartedAt), FinishedAt: timeOnWire(s.FinishedAt),
	}
	for _, d := range s.After {
		out.After = append(out.After, api.Dependency{Step: d.Step, Job: string(d.Job), Condition: string(d.Condition)})
	}
	for _, id := range s.Earlier {
		out.EarlierJobs = append(out.EarlierJobs, string(id))
	}
	if j, known := jobs[s.Job]; known {
		out.JobState = string(j.State)
	}
	return out
}
