package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/store"
)

func testInsert(t *testing.T, open Opener) {
	c := newClient(t, open)
	s := c.submission(func(spec *job.Spec) {
		spec.Labels = map[string]string{"tier": "gold"}
		spec.Priority, spec.Retries, spec.Deadline = 7, 3, time.Hour
		spec.OnRegionLost, spec.RetryOf = job.Wait, job.NewID()
		spec.Placement = job.Constraints{Regions: []string{"us-east-1"}, CapacityType: capacity.Spot, MaxPricePerHour: 1.5}
	})
	s.Key = &store.IdempotencyKey{Identity: "me", Namespace: "team-a", Key: "k", BodyHash: "h"}
	answer := c.tryInsert(s)
	c.must(answer.Err)
	if !answer.Created {
		t.Error("a fresh submission was not created")
	}
	c.same("the answer", answer.Job, s.Job)
	c.same("the record", c.stored(s.Job.ID), s.Job)

	manifest, err := c.Manifest(c.ctx, s.Job.ID)
	c.must(err)
	c.same("the manifest", string(manifest), string(s.Manifest))
	demand, err := c.Demand(c.ctx, s.Job.Spec.Class)
	c.must(err)
	c.same("the demand", demand, s.Demand)
	history, err := c.History(c.ctx, s.Job.ID)
	c.must(err)
	c.same("the history", history, []job.Transition{s.Transition})
	events := c.events(store.EventQuery{})
	if len(events) != 1 || events[0].Type != "job.queued" || events[0].Subject != store.JobSubject(s.Job.ID) {
		t.Errorf("events after one submission: %s", text(events))
	}

	answers, err := c.Insert(c.ctx, nil)
	c.must(err)
	if len(answers) != 0 {
		t.Errorf("%d answers for nothing", len(answers))
	}
}

func testInsertApart(t *testing.T, open Opener) {
	c := newClient(t, open)
	taken := c.submit()
	var batch []store.Submission
	for range 250 {
		batch = append(batch, c.submission())
	}
	batch[17].Job.ID = taken.ID
	answers, err := c.Insert(c.ctx, batch)
	c.must(err)
	if len(answers) != len(batch) {
		t.Fatalf("%d answers for %d submissions", len(answers), len(batch))
	}
	for i, answer := range answers {
		if i == 17 {
			c.want(answer.Err, store.ErrConflict)
			continue
		}
		if answer.Err != nil || !answer.Created || answer.Job.ID != batch[i].Job.ID {
			t.Fatalf("submission %d: %s, %v", i, text(answer.Job), answer.Err)
		}
		c.same("the record", c.stored(batch[i].Job.ID), batch[i].Job)
	}
}

// keyed gives a submission a key.
func keyed(s store.Submission, identity, key, hash string) store.Submission {
	s.Key = &store.IdempotencyKey{Identity: identity, Namespace: s.Job.Spec.Namespace, Key: key, BodyHash: hash}
	return s
}

func testReplay(t *testing.T, open Opener) {
	c := newClient(t, open)
	first := c.insert(keyed(c.submission(), "me", "k", "h"))

	// The other identities and namespaces have keys of their own.
	c.insert(keyed(c.submission(), "you", "k", "other"))
	c.insert(keyed(c.submission(func(s *job.Spec) { s.Namespace = "team-b" }), "me", "k", "other"))
	c.insert(keyed(c.submission(), "me", "K", "other"))

	replay := c.tryInsert(keyed(c.submission(), "me", "k", "h"))
	c.must(replay.Err)
	if replay.Created || replay.Job.ID != first.ID {
		t.Errorf("a replay created %t and answered job %s instead of %s", replay.Created, replay.Job.ID, first.ID)
	}
	now := c.apply(first, place("r"), claim, started)
	replay = c.tryInsert(keyed(c.submission(), "me", "k", "h"))
	c.must(replay.Err)
	c.same("the job of a late replay", replay.Job, now)

	made, err := c.MadeBy(c.ctx, store.IdempotencyKey{Identity: "me", Namespace: now.Spec.Namespace, Key: "k", BodyHash: "h"})
	c.must(err)
	c.same("the job of the key", made, now)

	misuse := keyed(c.submission(), "me", "k", "h2")
	c.want(c.tryInsert(misuse).Err, store.ErrKeyReused)
	_, err = c.MadeBy(c.ctx, *misuse.Key)
	c.want(err, store.ErrKeyReused)
	_, err = c.MadeBy(c.ctx, store.IdempotencyKey{Identity: "me", Namespace: "team-c", Key: "k", BodyHash: "h"})
	c.want(err, store.ErrNotFound)
	_, err = c.Job(c.ctx, misuse.Job.ID)
	c.want(err, store.ErrNotFound)

	// Within one call, too.
	one, two := keyed(c.submission(), "me", "both", "h"), keyed(c.submission(), "me", "both", "h")
	answers, err := c.Insert(c.ctx, []store.Submission{one, two})
	c.must(err)
	if !answers[0].Created || answers[1].Created || answers[1].Job.ID != one.Job.ID {
		t.Errorf("the same key twice in one call: %s", text(answers))
	}
}

func testFull(t *testing.T, open Opener) {
	c := newClient(t, open)
	limited := func(s store.Submission) store.Submission { s.MaxQueued = 2; return s }
	first := c.insert(limited(keyed(c.submission(), "me", "k", "h")))
	second := c.insert(limited(c.submission()))
	refused := limited(keyed(c.submission(), "me", "later", "h"))
	c.want(c.tryInsert(refused).Err, store.ErrNamespaceFull)
	_, err := c.Job(c.ctx, refused.Job.ID)
	c.want(err, store.ErrNotFound)

	// A replay is not one job more, and misuse is misuse.
	replay := c.tryInsert(limited(keyed(c.submission(), "me", "k", "h")))
	c.must(replay.Err)
	c.want(c.tryInsert(limited(keyed(c.submission(), "me", "k", "h2"))).Err, store.ErrKeyReused)

	// Placed jobs count, claimed ones do not; other namespaces never do.
	first = c.apply(first, place("r"))
	c.want(c.tryInsert(refused).Err, store.ErrNamespaceFull)
	c.insert(limited(c.submission(func(s *job.Spec) { s.Namespace = "team-b" })))
	c.apply(first, claim)
	c.insert(refused)
	c.want(c.tryInsert(limited(c.submission())).Err, store.ErrNamespaceFull)
	c.insert(c.submission())
	c.apply(second, stopped)

	// In one call, those that fit get in.
	var batch []store.Submission
	for range 4 {
		s := c.submission(func(s *job.Spec) { s.Namespace = "team-c" })
		s.MaxQueued = 3
		batch = append(batch, s)
	}
	answers, err := c.Insert(c.ctx, batch)
	c.must(err)
	if !answers[0].Created || !answers[1].Created || !answers[2].Created || !errors.Is(answers[3].Err, store.ErrNamespaceFull) {
		t.Errorf("four jobs where three have room: %s", text(answers))
	}
}

func testTakenID(t *testing.T, open Opener) {
	c := newClient(t, open)
	first := c.submit()
	again := keyed(c.submission(), "me", "k", "h")
	again.Job.ID, again.Transition.Job = first.ID, first.ID
	c.want(c.tryInsert(again).Err, store.ErrConflict)
	c.same("the job that had the ID", c.stored(first.ID), first)

	// The refused submission did not use up its key.
	c.insert(keyed(c.submission(), "me", "k", "other"))
	counts, err := c.Counts(c.ctx)
	c.must(err)
	c.same("counts", counts, []store.Count{{Namespace: "team-a", State: job.Queued, Jobs: 2}})
}

func testCancelled(t *testing.T, open Opener) {
	c := newClient(t, open)
	ctx, stop := context.WithCancel(c.ctx)
	stop()
	s := c.submission()
	if _, err := c.Insert(ctx, []store.Submission{s}); err == nil {
		t.Error("a cancelled call inserted a job")
	}
	_, err := c.Job(c.ctx, s.Job.ID)
	c.want(err, store.ErrNotFound)
	j := c.submit()
	if _, err := c.Commit(ctx, nil, []store.Change{c.change(j, place("r"))}); err == nil {
		t.Error("a cancelled call committed a change")
	}
	c.same("the job", c.stored(j.ID), j)
}

func testNotFound(t *testing.T, open Opener) {
	c := newClient(t, open)
	j := c.submit()
	// People and agents send names of any kind.
	for _, name := range []string{string(job.NewID()), "", "no#such/name", "\x00\xff", strings.Repeat("é", 3000)} {
		id := job.ID(name)
		_, err := c.Job(c.ctx, id)
		c.want(err, store.ErrNotFound)
		_, err = c.Manifest(c.ctx, id)
		c.want(err, store.ErrNotFound)
		_, err = c.History(c.ctx, id)
		c.want(err, store.ErrNotFound)
		_, err = c.Demand(c.ctx, capacity.Class(name))
		c.want(err, store.ErrNotFound)
		_, err = c.Region(c.ctx, name)
		c.want(err, store.ErrNotFound)
		_, err = c.TokenByHash(c.ctx, name)
		c.want(err, store.ErrNotFound)
		_, err = c.Template(c.ctx, name)
		c.want(err, store.ErrNotFound)
		_, err = c.Webhook(c.ctx, name)
		c.want(err, store.ErrNotFound)
		_, err = c.Pipeline(c.ctx, pipeline.ID(name))
		c.want(err, store.ErrNotFound)
		_, err = c.Schedule(c.ctx, store.ScheduleName{Namespace: name, Name: name})
		c.want(err, store.ErrNotFound)
		_, err = c.Endpoint(c.ctx, name)
		c.want(err, store.ErrNotFound)
		c.want(c.DeleteToken(c.ctx, name), store.ErrNotFound)
		c.want(c.SetLogs(c.ctx, job.AttemptID{Job: id, Attempt: 1}, job.LogsArchived), store.ErrNotFound)
		errs, err := c.Delete(c.ctx, []job.ID{id}, c.now, time.Hour)
		c.must(err)
		c.want(errs[0], store.ErrNotFound)
		found, err := c.JobsByID(c.ctx, []job.ID{id, j.ID})
		c.must(err)
		c.same("one job of two", found, map[job.ID]job.Job{j.ID: j})
		if name == "" {
			continue
		}
		for _, query := range []store.ListQuery{
			{Namespaces: []string{name}}, {Region: name}, {States: []job.State{job.State(name)}}, {Template: name}, {Labels: map[string]string{name: name}},
		} {
			query.Limit = 10
			c.same("jobs by "+text(query), c.list(query), []job.ID(nil))
		}
		_, err = c.List(c.ctx, store.ListQuery{Before: id, Limit: 10})
		c.must(err)
		if got := c.events(store.EventQuery{Subject: name}); len(got) > 0 {
			t.Errorf("events of %q: %s", name, text(got))
		}
	}
}

func testJobsByID(t *testing.T, open Opener) {
	c := newClient(t, open)
	a, b := c.submit(), c.apply(c.submit(), place("r"), claim)
	found, err := c.JobsByID(c.ctx, []job.ID{b.ID, job.NewID(), a.ID, b.ID})
	c.must(err)
	c.same("jobs by ID", found, map[job.ID]job.Job{a.ID: a, b.ID: b})
	found, err = c.JobsByID(c.ctx, nil)
	c.must(err)
	if len(found) != 0 {
		t.Errorf("%d jobs for no ID", len(found))
	}
}

// reversed returns the IDs in the opposite order.
func reversed(all []job.ID) []job.ID {
	out := slices.Clone(all)
	slices.Reverse(out)
	return out
}
