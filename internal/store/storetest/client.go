package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// start is when every test begins.
var start = time.Date(2030, time.January, 2, 3, 4, 5, 678, time.UTC)

// client drives a store as the queue does, at a time that the test sets, and
// fails the test where that should not be possible.
type client struct {
	T
	store.Store
	ctx context.Context
	now time.Time
}

// patience is how long the calls of a test may take together. A driver that
// gives up by itself would do so where engine and tests share a busy machine.
const patience = 10 * time.Minute

func newClient(t T, open Opener) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return &client{T: t, Store: open(t), ctx: ctx, now: start}
}

// pass lets time go by.
func (c *client) pass(d time.Duration) { c.now = c.now.Add(d) }

// submission returns a valid one; alter may change the spec.
func (c *client) submission(alter ...func(*job.Spec)) store.Submission {
	return c.submissionOf(1000, alter...)
}

// submissionOf returns a submission that demands so many millicores.
func (c *client) submissionOf(cpu int64, alter ...func(*job.Spec)) store.Submission {
	spec := job.Spec{Namespace: "team-a", Name: "train", SubmittedBy: "someone"}
	for _, change := range alter {
		change(&spec)
	}
	spec = spec.WithDefaults()
	demand := capacity.Demand{Pods: []capacity.PodGroup{{
		Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: cpu}},
	}}}
	spec.Class = capacity.ClassOf(demand, spec.Placement)
	id := job.NewID()
	j, transition := job.New(id, spec, c.now)
	return store.Submission{
		Job: j, Transition: transition, Demand: demand,
		Manifest: fmt.Appendf(nil, `{"kind":"Job","metadata":{"name":"train","uid":"%s"}}`, id),
	}
}

// submit inserts one job.
func (c *client) submit(alter ...func(*job.Spec)) job.Job {
	c.Helper()
	return c.insert(c.submission(alter...))
}

// insert inserts one submission, which must succeed.
func (c *client) insert(s store.Submission) job.Job {
	c.Helper()
	answer := c.tryInsert(s)
	if answer.Err != nil || !answer.Created {
		c.Fatalf("inserting job %s: created %t, error %v", s.Job.ID, answer.Created, answer.Err)
	}
	return answer.Job
}

// tryInsert inserts one submission and returns what the store says of it.
func (c *client) tryInsert(s store.Submission) store.Inserted {
	c.Helper()
	answers, err := c.Insert(c.ctx, []store.Submission{s})
	c.must(err)
	if len(answers) != 1 {
		c.Fatalf("%d answers for one submission", len(answers))
	}
	return answers[0]
}

// change returns the change that an event makes.
func (c *client) change(j job.Job, event job.Event) store.Change {
	c.Helper()
	after, transition, err := j.Apply(event, c.now)
	c.must(err)
	return store.Change{Job: after, Transition: transition}
}

// apply commits events one after the other and returns the job after them.
func (c *client) apply(j job.Job, events ...job.Event) job.Job {
	c.Helper()
	for _, event := range events {
		change := c.change(j, event)
		errs, err := c.Commit(c.ctx, nil, []store.Change{change})
		c.must(err)
		if len(errs) != 1 || errs[0] != nil {
			c.Fatalf("committing %s of job %s: %v", event.Kind, j.ID, errs)
		}
		j = change.Job
	}
	return j
}

// many submits n jobs in one call and applies events to all of them, a call
// each.
func (c *client) many(n int, alter func(*job.Spec), events ...job.Event) []job.Job {
	c.Helper()
	batch := make([]store.Submission, n)
	jobs := make([]job.Job, n)
	for i := range batch {
		batch[i] = c.submission(alter)
		jobs[i] = batch[i].Job
	}
	answers, err := c.Insert(c.ctx, batch)
	c.must(err)
	for _, answer := range answers {
		c.must(answer.Err)
	}
	for _, event := range events {
		changes := make([]store.Change, n)
		for i, j := range jobs {
			changes[i] = c.change(j, event)
			jobs[i] = changes[i].Job
		}
		errs, err := c.Commit(c.ctx, nil, changes)
		c.must(err)
		c.must(errors.Join(errs...))
	}
	return jobs
}

// place is the event that promises a job to a region.
func place(region string) job.Event { return job.Event{Kind: job.Place, Region: region} }

var (
	unplace  = job.Event{Kind: job.Unplace}
	claim    = job.Event{Kind: job.Claim}
	applied  = job.Event{Kind: job.Applied}
	started  = job.Event{Kind: job.Started}
	finished = job.Event{Kind: job.Finished}
	failure  = job.Event{Kind: job.Failure, Reason: "exit", Message: "exit code 3", ExitCode: new(3)}
	lost     = job.Event{Kind: job.LostEvent}
	released = job.Event{Kind: job.Released}
	cancel   = job.Event{Kind: job.StopAsked, StopReason: job.ByCancel}
	stopped  = job.Event{Kind: job.Stopped, StopReason: job.ByCancel}
	gone     = job.Event{Kind: job.RegionLost}
	returned = job.Event{Kind: job.RegionReturned}
)

// must fails the test on an error.
func (c *client) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// want fails the test unless err is the target.
func (c *client) want(err, target error) {
	c.Helper()
	if !errors.Is(err, target) {
		c.Errorf("error %v instead of %q", err, target)
	}
}

// same fails the test unless both are the same as JSON, which is blind to the
// zone of a time and to the difference between nil and empty.
func (c *client) same(what string, got, want any) {
	c.Helper()
	a, b := text(got), text(want)
	if a != b && !(isNone(a) && isNone(b)) {
		c.Errorf("%s:\n got %s\nwant %s", what, a, b)
	}
}

func isNone(text string) bool { return text == "null" || text == "[]" }

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// ids returns the IDs of jobs, in their order.
func ids(jobs []job.Job) []job.ID {
	out := make([]job.ID, len(jobs))
	for i, j := range jobs {
		out[i] = j.ID
	}
	return out
}

// stored reads a job back.
func (c *client) stored(id job.ID) job.Job {
	c.Helper()
	j, err := c.Job(c.ctx, id)
	c.must(err)
	return j
}

// open opens a session of a region.
func (c *client) open(region string) capacity.Region {
	c.Helper()
	r, err := c.OpenSession(c.ctx, region, "cluster-"+region, string(job.NewID()), c.now)
	c.must(err)
	return r
}

// events reads all events after a cursor.
func (c *client) events(query store.EventQuery) []store.Event {
	c.Helper()
	var all []store.Event
	if query.Limit == 0 {
		query.Limit = 7
	}
	for {
		page, next, err := c.Events(c.ctx, query)
		c.must(err)
		if len(page) > query.Limit {
			c.Fatalf("%d events where at most %d were asked for", len(page), query.Limit)
		}
		if next < query.After {
			c.Fatalf("the cursor went back from %d to %d", query.After, next)
		}
		all = append(all, page...)
		if next == query.After {
			return all
		}
		if len(all) > 100_000 {
			c.Fatal("the events never end")
		}
		query.After = next
	}
}
