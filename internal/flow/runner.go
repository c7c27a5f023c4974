package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
)

const (
	// eventPage is how many events are read at a time.
	eventPage = 1000
	// coalesce is for how long signals of commits gather before the runner
	// reads what happened.
	coalesce = 20 * time.Millisecond
	// maxTurns bounds how often one pipeline is looked at again at once: two
	// writes for each of a chain of steps that fail by themselves.
	maxTurns = 2*pipeline.MaxSteps + 10
	// keysFor is for how long a submission may count on its idempotency key,
	// whatever became of the job: a little less than the queue keeps it.
	keysFor = 23 * time.Hour
)

// runner is the leader's loop that takes pipelines further:
//
//  1. a new leader looks at every pipeline that runs;
//  2. it reads the events since the last round, and looks at the pipelines
//     that wait for a job which has ended, and at those with which something
//     went wrong in the last round;
//  3. it looks at those that are due: new ones, those that a user wished
//     something of, those that wait for a submission, and from time to time
//     each that runs, so that an event which nobody read costs time only.
//
// To look at one is to read its jobs, to let pipeline decide, and to write and
// do what was decided.
type runner struct {
	f *Flow
	// led says that this process led in the last round.
	led bool
	// cursor is the last event that was read.
	cursor int64
	// watching has the pipelines that wait for each job, and jobs the other
	// way around.
	watching map[job.ID]map[pipeline.ID]bool
	jobs     map[pipeline.ID][]job.ID
	// troubles are what went wrong in the last round, by pipeline.
	troubles map[pipeline.ID]string
}

func newRunner(f *Flow) *runner {
	r := &runner{f: f}
	r.forget()
	return r
}

func (r *runner) forget() {
	r.led, r.cursor = false, 0
	r.watching, r.jobs = map[job.ID]map[pipeline.ID]bool{}, map[pipeline.ID][]job.ID{}
	r.troubles = map[pipeline.ID]string{}
	r.f.metrics.running.Set(0)
	r.f.metrics.stuck.Set(0)
}

func (r *runner) run(ctx context.Context) error {
	changed, stop := r.f.Queue.Watch()
	defer stop()
	ticks := r.f.Clock.NewTicker(r.f.Tick)
	defer ticks.Stop()
	for {
		if err := r.runOnce(ctx); err != nil && ctx.Err() == nil {
			r.f.Log.Error("taking pipelines further", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C():
		case <-r.f.news:
		case <-r.wanted(changed):
			select {
			case <-r.f.Clock.After(coalesce):
			case <-ctx.Done():
			}
		}
	}
}

// wanted is the channel of commits while any job is waited for.
func (r *runner) wanted(changed <-chan struct{}) <-chan struct{} {
	if len(r.watching) == 0 {
		return nil
	}
	return changed
}

// runOnce makes one round.
func (r *runner) runOnce(ctx context.Context) error {
	if !r.f.Queue.Leading() {
		if r.led {
			r.forget()
		}
		return nil
	}
	// What is due already, and for a new leader whatever will be: a pipeline
	// that runs is always due within LookEvery of the last look.
	before := r.f.Clock.Now().Add(time.Nanosecond)
	if !r.led {
		before = before.Add(pipeline.LookEvery)
	}
	ended, err := r.ended(ctx)
	if err != nil {
		return err
	}
	again := slices.Collect(maps.Keys(r.troubles))
	slices.Sort(again)
	for _, id := range slices.Concat(ended, again) {
		r.look(ctx, id)
	}
	if err := r.lookAtDue(ctx, before); err != nil {
		return err
	}
	r.led = true
	r.f.metrics.running.Set(float64(len(r.jobs)))
	r.f.metrics.stuck.Set(float64(len(r.troubles)))
	return nil
}

// lookAtDue looks at what is due before a time. Most of what was looked at is
// due later then; the rest is asked for again, with more.
func (r *runner) lookAtDue(ctx context.Context, before time.Time) error {
	seen := map[pipeline.ID]bool{}
	for ctx.Err() == nil {
		due, err := r.f.Store.DuePipelines(ctx, before, len(seen)+dueLimit)
		if err != nil {
			return fmt.Errorf("listing due pipelines: %w", err)
		}
		due = slices.DeleteFunc(due, func(p pipeline.Pipeline) bool { return seen[p.ID] })
		if len(due) == 0 {
			return nil
		}
		for _, p := range due {
			seen[p.ID] = true
			r.look(ctx, p.ID)
		}
	}
	return nil
}

// ended reads the events since the last round, and returns the pipelines that
// wait for a job which has ended.
func (r *runner) ended(ctx context.Context) ([]pipeline.ID, error) {
	found := map[pipeline.ID]bool{}
	if len(r.watching) == 0 {
		last, err := r.f.Store.LastEvent(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the last event: %w", err)
		}
		r.cursor = last
		return nil, nil
	}
	for {
		events, next, err := r.f.Store.Events(ctx, store.EventQuery{
			After: r.cursor, Types: []string{"job.succeeded", "job.failed", "job.cancelled"}, Limit: eventPage,
		})
		if err != nil {
			return nil, fmt.Errorf("reading events: %w", err)
		}
		for _, event := range events {
			maps.Copy(found, r.watching[job.ID(event.Subject[len(store.JobSubject("")):])])
		}
		if next == r.cursor {
			return slices.Sorted(maps.Keys(found)), nil
		}
		r.cursor = next
	}
}

// watch notes which jobs a pipeline waits for.
func (r *runner) watch(id pipeline.ID, jobs []job.ID) {
	for _, j := range r.jobs[id] {
		if delete(r.watching[j], id); len(r.watching[j]) == 0 {
			delete(r.watching, j)
		}
	}
	delete(r.jobs, id)
	if len(jobs) > 0 {
		r.jobs[id] = jobs
	}
	for _, j := range jobs {
		if r.watching[j] == nil {
			r.watching[j] = map[pipeline.ID]bool{}
		}
		r.watching[j][id] = true
	}
}

// look takes one pipeline as far as it goes now. What cannot be done now comes
// again.
func (r *runner) look(ctx context.Context, id pipeline.ID) {
	for range maxTurns {
		again, err := r.turn(ctx, id)
		if err != nil {
			if ctx.Err() == nil && r.troubles[id] != err.Error() {
				r.troubles[id] = err.Error()
				r.f.Log.Warn("taking a pipeline further; it will be tried again", "pipeline", id, "error", err)
			}
			return
		}
		delete(r.troubles, id)
		if !again {
			return
		}
	}
}

// turn makes one decision about a pipeline, and tells whether there may be
// another.
func (r *runner) turn(ctx context.Context, id pipeline.ID) (again bool, err error) {
	p, err := r.f.Store.Pipeline(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		r.watch(id, nil)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	now := r.f.Clock.Now()
	if p.State.Terminal() {
		r.watch(id, nil)
		if p.DueAt.After(now) {
			return false, nil
		}
		return false, ignoring(r.f.Store.DeletePipeline(ctx, id, p.Version), store.ErrConflict, store.ErrNotFound)
	}
	// First noted, then read: an end in between shows in the events.
	r.watch(id, p.Jobs())
	jobs, err := r.read(ctx, &p)
	if err != nil {
		return false, err
	}
	next, changed := p.Advance(jobs, now)
	if !changed && len(next.Starting()) > 0 && !p.DueAt.After(now) {
		return r.start(ctx, next)
	}
	if changed {
		return r.write(ctx, next.Revised(now))
	}
	if err := r.stop(ctx, &p); err != nil || p.DueAt.After(now) {
		return false, err
	}
	_, err = r.write(ctx, next.Revised(now))
	return false, err
}

// write writes a record; someone else may have been faster.
func (r *runner) write(ctx context.Context, p pipeline.Pipeline) (again bool, err error) {
	err = r.f.Store.UpdatePipeline(ctx, p)
	if err == nil {
		r.f.told(p.Event)
	}
	return true, ignoring(err, store.ErrConflict, store.ErrNotFound)
}

func ignoring(err error, harmless ...error) error {
	if slices.ContainsFunc(harmless, func(h error) bool { return errors.Is(err, h) }) {
		return nil
	}
	return err
}

// read reads the jobs that have a say. A step's job whose record is gone may
// have ended long before anybody looked: while its key is kept, the same
// submission answers with what the job was.
func (r *runner) read(ctx context.Context, p *pipeline.Pipeline) (map[job.ID]job.Job, error) {
	jobs, err := r.f.Store.JobsByID(ctx, p.Jobs())
	if err != nil {
		return nil, fmt.Errorf("reading the jobs: %w", err)
	}
	for i, s := range p.Steps {
		if _, exists := jobs[s.Job]; exists || s.State != pipeline.StepRunning || r.f.Clock.Since(s.StartedAt) > keysFor {
			continue
		}
		submissions, err := r.submissions(ctx, p, []int{i})
		if err != nil {
			return nil, err
		}
		if submissions[0].refused != nil {
			continue
		}
		result := r.f.Queue.Submit(ctx, []queue.Submission{submissions[0].Submission})[0]
		if _, never := refusalOf(result.Err); result.Err != nil && !never {
			return nil, fmt.Errorf("looking for what job %s was: %w", s.Job, result.Err)
		}
		if result.Err == nil {
			jobs[s.Job] = result.Job
		}
	}
	return jobs, nil
}

// submission is what one step submits, or why it cannot.
type submission struct {
	queue.Submission
	refused *refusal
}

// submissions are those of some steps, with the outputs that they refer to.
func (r *runner) submissions(ctx context.Context, p *pipeline.Pipeline, steps []int) ([]submission, error) {
	text, err := r.f.Store.PipelineDocument(ctx, p.ID)
	if err != nil {
		return nil, fmt.Errorf("reading what the steps submit: %w", err)
	}
	var document api.NewPipeline
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("reading what the steps submit: %w", err)
	}
	all := make([]submission, len(steps))
	for k, i := range steps {
		step := p.Steps[i]
		request, missing := filled(p, document.Steps[i].Submission)
		if len(missing) > 0 {
			all[k].refused = &refusal{"no-output", nameAll(missing)}
		}
		all[k].Submission = queue.Submission{
			Identity: p.SubmittedBy, Request: request, Namespaces: []string{p.Namespace},
			Key: fmt.Sprintf("pipeline/%s/%s/%d", p.ID, step.Name, step.Run),
		}
	}
	return all, nil
}

// start submits the jobs of the steps that are starting, and writes which they
// are.
func (r *runner) start(ctx context.Context, p pipeline.Pipeline) (again bool, err error) {
	steps := p.Starting()
	submissions, err := r.submissions(ctx, &p, steps)
	if err != nil {
		return false, err
	}
	now := r.f.Clock.Now()
	var asked []queue.Submission
	var askedBy []int
	for k, i := range steps {
		if why := submissions[k].refused; why != nil {
			p = p.Refused(i, why.reason, why.message, now)
			continue
		}
		asked, askedBy = append(asked, submissions[k].Submission), append(askedBy, i)
	}
	var troubles []error
	for k, result := range r.f.Queue.Submit(ctx, asked) {
		i := askedBy[k]
		why, never := refusalOf(result.Err)
		switch {
		case result.Err == nil:
			p = p.Started(i, result.Job.ID)
		case never:
			p = p.Refused(i, why.reason, why.message, now)
		default:
			troubles = append(troubles, fmt.Errorf("submitting step %s: %w", p.Steps[i].Name, result.Err))
		}
	}
	next := p.Revised(now)
	if len(troubles) > 0 {
		next.DueAt = now.Add(duePause)
	}
	again, err = r.write(ctx, next)
	if len(troubles) > 0 {
		again, err = false, errors.Join(append(troubles, err)...)
	}
	return again, err
}

// stop cancels the jobs of a pipeline that was cancelled.
func (r *runner) stop(ctx context.Context, p *pipeline.Pipeline) error {
	for _, id := range p.ToStop() {
		if err := cancel(ctx, r.f.Queue, id); err != nil {
			return err
		}
	}
	return nil
}

// cancel cancels a job that may have ended or gone meanwhile.
func cancel(ctx context.Context, q Queue, id job.ID) error {
	_, err := q.Cancel(ctx, id)
	if _, ended := errors.AsType[*job.NotAllowed](err); ended {
		return nil
	}
	if err = ignoring(err, store.ErrNotFound); err != nil {
		return fmt.Errorf("cancelling job %s: %w", id, err)
	}
	return nil
}
