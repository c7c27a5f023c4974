package flow

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
)

// defaultNamespace is the one of a pipeline that names none.
const defaultNamespace = "default"

// Submission is one pipeline that somebody asks for.
type Submission struct {
	// Identity is who asks; the jobs are submitted as theirs.
	Identity string
	// Key is the idempotency key; empty is none.
	Key     string
	Request api.NewPipeline
	// Namespaces are those that the identity may submit to; empty is all.
	Namespaces []string
	// Faults were found while the request was decoded.
	Faults []job.Fault
}

// SubmitPipeline checks and stores a pipeline. created is false where the key
// had made it before. The error is *job.Invalid with every fault at once,
// *queue.NotYourNamespace, or a wrapped error of store.
func (f *Flow) SubmitPipeline(ctx context.Context, submission Submission) (p pipeline.Pipeline, created bool, err error) {
	insert, err := f.compile(ctx, submission)
	if err != nil {
		p, err = f.refuse(ctx, submission, err)
		return p, false, err
	}
	p, created, err = f.Store.InsertPipeline(ctx, insert)
	if err != nil {
		return pipeline.Pipeline{}, false, fmt.Errorf("storing the pipeline: %w", err)
	}
	if created {
		f.told(pipeline.EventSubmitted)
		f.wake()
	}
	return p, created, nil
}

// refuse answers a pipeline that cannot be accepted now. Where a template or a
// job that it names is gone since, it may be the replay of one that was
// accepted: that has the first answer.
func (f *Flow) refuse(ctx context.Context, submission Submission, refusal error) (pipeline.Pipeline, error) {
	if _, invalid := errors.AsType[*job.Invalid](refusal); !invalid || submission.Key == "" {
		return pipeline.Pipeline{}, refusal
	}
	made, err := f.Store.PipelineMadeBy(ctx, keyOf(submission))
	switch {
	case err == nil:
		return made, nil
	case errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrKeyReused):
		return pipeline.Pipeline{}, refusal
	}
	return pipeline.Pipeline{}, fmt.Errorf("looking for what the key has made: %w", err)
}

func keyOf(submission Submission) store.IdempotencyKey {
	return store.IdempotencyKey{
		Identity: submission.Identity, Namespace: cmp.Or(submission.Request.Namespace, defaultNamespace), Key: submission.Key,
		BodyHash: bodyHash(submission.Request),
	}
}

// compile turns what was sent into what is stored.
func (f *Flow) compile(ctx context.Context, submission Submission) (store.NewPipeline, error) {
	c := &compiler{flow: f, submission: submission, faults: submission.Faults}
	if err := c.compile(ctx); err != nil {
		return store.NewPipeline{}, err
	}
	if len(c.faults) > 0 {
		return store.NewPipeline{}, &job.Invalid{Faults: c.faults}
	}
	now := f.Clock.Now()
	request := c.submission.Request
	out := store.NewPipeline{
		Pipeline: pipeline.Pipeline{
			ID: pipeline.NewID(), Namespace: request.Namespace, Name: request.Name, SubmittedBy: submission.Identity,
			Version: 1, Event: pipeline.EventSubmitted, State: pipeline.Running, Run: 1, Steps: c.steps,
			SubmittedAt: now, UpdatedAt: now, DueAt: now,
		},
		Document: encode(request),
	}
	if submission.Key != "" {
		key := keyOf(submission)
		out.Key = &key
	}
	return out, nil
}

// compiler gathers the steps and the faults of one pipeline.
type compiler struct {
	flow       *Flow
	submission Submission
	steps      []pipeline.Step
	faults     []job.Fault
}

func (c *compiler) fault(field, format string, args ...any) {
	c.faults = append(c.faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *compiler) compile(ctx context.Context) error {
	request := &c.submission.Request
	if request.Namespace == "" {
		request.Namespace = defaultNamespace
	}
	if allowed := c.submission.Namespaces; len(allowed) > 0 && !slices.Contains(allowed, request.Namespace) {
		return &queue.NotYourNamespace{Namespace: request.Namespace, Allowed: allowed}
	}
	c.faults = append(c.faults, nameFaults(request.Namespace, request.Name)...)
	request.Kind = ""
	request.Steps = slices.Clone(request.Steps)
	for _, s := range request.Steps {
		c.steps = append(c.steps, stepOf(s))
	}
	c.faults = append(c.faults, pipeline.Check(c.steps)...)
	if len(c.steps) > pipeline.MaxSteps {
		return nil
	}
	for i := range request.Steps {
		if err := c.step(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// nameFaults says what is wrong with the names of a pipeline or a schedule.
func nameFaults(namespace, name string) []job.Fault {
	var faults []job.Fault
	for _, n := range []struct{ field, name string }{{"namespace", namespace}, {"name", name}} {
		if !pipeline.ValidName(n.name) {
			faults = append(faults, job.Fault{
				Field: n.field, Message: fmt.Sprintf("%q is not a DNS label: lower-case letters, digits and -, at most 63", shorten(n.name)),
			})
		}
	}
	return faults
}

func stepOf(s api.NewStep) pipeline.Step {
	out := pipeline.Step{Name: s.Name, State: pipeline.StepWaiting}
	for _, d := range s.After {
		condition := pipeline.Condition(d.Condition)
		if condition == "" {
			condition = pipeline.OnSuccess
		}
		out.After = append(out.After, pipeline.Dependency{Step: d.Step, Job: job.ID(d.Job), Condition: condition})
	}
	return out
}

// step checks what one step submits. Where it has references, that can only
// be done when their values are there.
func (c *compiler) step(ctx context.Context, i int) error {
	field := fmt.Sprintf("steps[%d].", i)
	step := &c.submission.Request.Steps[i]
	if step.Namespace != "" && step.Namespace != c.submission.Request.Namespace {
		c.fault(field+"namespace", "is %q; every step of a pipeline is in its namespace, %q", shorten(step.Namespace), c.submission.Request.Namespace)
	}
	step.Namespace = c.submission.Request.Namespace
	if err := c.jobs(ctx, field, i); err != nil {
		return err
	}
	found, faults := references(field, step.Submission)
	c.faults = append(c.faults, faults...)
	c.faults = append(c.faults, pipeline.Resolve(c.steps, i, found)...)
	if len(found) > 0 || len(faults) > 0 {
		return c.pin(ctx, field, step)
	}
	rendered, err := c.flow.Queue.Render(ctx, queue.Submission{
		Identity: c.submission.Identity, Request: step.Submission, Namespaces: []string{step.Namespace},
	})
	if invalid, ok := errors.AsType[*job.Invalid](err); ok {
		for _, fault := range invalid.Faults {
			c.fault(field+fault.Field, "%s", fault.Message)
		}
		return nil
	}
	if other, ok := errors.AsType[*queue.NotYourNamespace](err); ok {
		c.fault(field+"manifest.metadata.namespace", "is %q; every step of a pipeline is in its namespace, %q", other.Namespace, step.Namespace)
		return nil
	}
	if err != nil {
		return err
	}
	if step.Template != nil {
		step.Template = &api.TemplateRef{Name: rendered.Spec.Template.Name, Version: rendered.Spec.Template.Version}
	}
	return nil
}

// pin fixes the version of a step's template: the step may begin long after,
// and more than once.
func (c *compiler) pin(ctx context.Context, field string, step *api.NewStep) error {
	if step.Template == nil || step.Template.Version != 0 {
		return nil
	}
	version, err := c.flow.templateVersion(ctx, step.Template.Name)
	if errors.Is(err, store.ErrNotFound) {
		c.fault(field+"template.name", "there is no template %q", shorten(step.Template.Name))
		return nil
	}
	step.Template = &api.TemplateRef{Name: step.Template.Name, Version: version}
	return err
}

// templateVersion is the newest version of a template.
func (f *Flow) templateVersion(ctx context.Context, name string) (int64, error) {
	newest, err := f.Store.Template(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("reading template %s: %w", name, err)
	}
	return newest.Version, nil
}

// jobs checks the jobs that a step waits for.
func (c *compiler) jobs(ctx context.Context, field string, i int) error {
	for k := range c.steps[i].After {
		d := &c.steps[i].After[k]
		if d.Job == "" {
			continue
		}
		field := fmt.Sprintf("%safter[%d].job", field, k)
		id, err := job.ParseID(string(d.Job))
		if err != nil {
			c.fault(field, "%q is not the ID of a job", shorten(string(d.Job)))
			continue
		}
		d.Job = id
		found, err := c.flow.Store.Job(ctx, id)
		allowed := c.submission.Namespaces
		if errors.Is(err, store.ErrNotFound) || err == nil && len(allowed) > 0 && !slices.Contains(allowed, found.Spec.Namespace) {
			c.fault(field, "there is no job %s, or it is not for this token", id)
		} else if err != nil {
			return fmt.Errorf("reading job %s: %w", id, err)
		}
	}
	return nil
}

// CancelPipeline lets nothing more of a pipeline begin, and cancels the jobs
// that run. *pipeline.NotAllowed when it has ended.
func (f *Flow) CancelPipeline(ctx context.Context, id pipeline.ID) (pipeline.Pipeline, error) {
	return f.change(ctx, id, func(p pipeline.Pipeline) (pipeline.Pipeline, bool, error) { return p.Cancel() })
}

// RetryPipeline begins another run of what failed, was cancelled, or waits for
// that. *pipeline.NotAllowed while it runs, and when it succeeded.
func (f *Flow) RetryPipeline(ctx context.Context, id pipeline.ID) (pipeline.Pipeline, error) {
	return f.change(ctx, id, func(p pipeline.Pipeline) (pipeline.Pipeline, bool, error) {
		next, err := p.Retry()
		return next, true, err
	})
}

// change writes what a user wishes, and has the runner look at it; it reads
// again when someone else was faster.
func (f *Flow) change(ctx context.Context, id pipeline.ID, wish func(pipeline.Pipeline) (pipeline.Pipeline, bool, error)) (pipeline.Pipeline, error) {
	for {
		p, err := f.Store.Pipeline(ctx, id)
		if err != nil {
			return pipeline.Pipeline{}, fmt.Errorf("reading pipeline %s: %w", id, err)
		}
		next, changed, err := wish(p)
		if err != nil || !changed {
			return p, err
		}
		now := f.Clock.Now()
		next = next.Revised(now)
		next.DueAt = now
		err = f.Store.UpdatePipeline(ctx, next)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return pipeline.Pipeline{}, fmt.Errorf("changing pipeline %s: %w", id, err)
		}
		f.told(next.Event)
		f.wake()
		return next, nil
	}
}

// bodyHash tells a replay from a misuse of a key. It is over what was asked
// for, and not over the versions of templates that were found; what is said
// and what goes without saying are the same.
func bodyHash(request api.NewPipeline) string {
	request.Kind, request.Namespace = "", cmp.Or(request.Namespace, defaultNamespace)
	request.Steps = slices.Clone(request.Steps)
	for i := range request.Steps {
		s := &request.Steps[i]
		s.Namespace = cmp.Or(s.Namespace, request.Namespace)
		s.After = slices.Clone(s.After)
		for k := range s.After {
			s.After[k].Condition = cmp.Or(s.After[k].Condition, string(pipeline.OnSuccess))
		}
	}
	sum := sha256.Sum256(queue.Canonical(request))
	return hex.EncodeToString(sum[:])
}

// encode writes what came as JSON as JSON again.
func encode(document any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		panic("flow: a document that JSON cannot hold: " + err.Error())
	}
	return bytes.TrimSpace(out.Bytes())
}

// shorten keeps a message readable whatever was sent.
func shorten(text string) string {
	const most = 80
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "..."
	}
	return text
}
