package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func testCommit(t *testing.T, open Opener) {
	c := newClient(t, open)
	j := c.submit()
	placed := c.change(j, place("r"))
	c.apply(j, place("r"))
	c.same("the record", c.stored(j.ID), placed.Job)

	// The same change again, and one from an older version, come too late.
	for _, late := range []store.Change{placed, c.change(j, stopped)} {
		errs, err := c.Commit(c.ctx, nil, []store.Change{late})
		c.must(err)
		c.want(errs[0], store.ErrConflict)
	}
	// One from a version that never was, too.
	ahead := c.change(placed.Job, claim)
	ahead.Job.Version++
	errs, err := c.Commit(c.ctx, nil, []store.Change{ahead})
	c.must(err)
	c.want(errs[0], store.ErrConflict)

	unknown := c.change(c.submission().Job, place("r"))
	errs, err = c.Commit(c.ctx, nil, []store.Change{unknown})
	c.must(err)
	c.want(errs[0], store.ErrNotFound)

	history, err := c.History(c.ctx, j.ID)
	c.must(err)
	if len(history) != 2 || history[1].Type != "job.placed" {
		t.Errorf("the refused changes left a trace: %s", text(history))
	}
	errs, err = c.Commit(c.ctx, nil, nil)
	c.must(err)
	if len(errs) != 0 {
		t.Errorf("%d errors for no change", len(errs))
	}
}

// testCommitApart commits so many changes at once that a store may write
// several with one statement.
func testCommitApart(t *testing.T, open Opener) {
	c := newClient(t, open)
	want := map[int]error{1: store.ErrConflict, 3: store.ErrNotFound, 70: store.ErrConflict}
	var changes []store.Change
	queued := c.many(80, func(*job.Spec) {})
	for _, j := range queued {
		changes = append(changes, c.change(j, place("r")))
	}
	for i, err := range want {
		if errors.Is(err, store.ErrConflict) {
			c.apply(queued[i], stopped)
		} else {
			changes[i] = c.change(c.submission().Job, place("r"))
		}
	}
	changes[40] = c.change(c.submit(func(s *job.Spec) { s.Deadline = time.Hour }), place("r"))
	// A job twice in one call: the second must follow the first.
	changes = append(changes, c.change(changes[0].Job, claim))
	errs, err := c.Commit(c.ctx, nil, changes)
	c.must(err)
	if len(errs) != len(changes) {
		t.Fatalf("%d errors for %d changes", len(errs), len(changes))
	}
	for i, err := range errs {
		if want[i] != nil {
			c.want(err, want[i])
			continue
		}
		c.must(err)
		last := changes[i]
		if i == 0 {
			last = changes[80]
		}
		c.same("a job of many", c.stored(last.Job.ID), last.Job)
		history, err := c.History(c.ctx, last.Job.ID)
		c.must(err)
		c.same("the newest of its history", history[len(history)-1], last.Transition)
		if len(history) != int(last.Job.Version) {
			t.Errorf("version %d has a history of %d", last.Job.Version, len(history))
		}
	}
	counts, err := c.Counts(c.ctx)
	c.must(err)
	c.same("counts", counts, []store.Count{
		{Namespace: "team-a", State: job.Cancelled, Jobs: 2},
		{Namespace: "team-a", State: job.Queued, Jobs: 2},
		{Namespace: "team-a", Region: "r", State: job.Claimed, Jobs: 1},
		{Namespace: "team-a", Region: "r", State: job.Placed, Jobs: 76},
	})
}

func testGuard(t *testing.T, open Opener) {
	c := newClient(t, open)
	region := c.open("r")
	region, err := c.Renew(c.ctx, store.Renewal{Region: "r", Session: region.Session, Epoch: region.Epoch, Sequence: 1}, c.now)
	c.must(err)
	j := c.apply(c.submit(), place("r"))
	try := func(guard store.Guard) error {
		errs, err := c.Commit(c.ctx, &guard, []store.Change{c.change(j, claim)})
		if err == nil {
			err = errs[0]
		}
		return err
	}
	for _, guard := range []store.Guard{
		{Region: "r", Epoch: region.Epoch + 1, Lease: capacity.LeaseLive},
		{Region: "r", Epoch: region.Epoch - 1, Lease: capacity.LeaseLive},
		{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLost},
		{Region: "elsewhere", Epoch: region.Epoch, Lease: capacity.LeaseLive},
		{Region: "elsewhere", Epoch: 0, Lease: capacity.LeaseNone},
		{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLive, Renewals: region.Renewals + 1},
		{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLive, Renewals: region.Renewals - 1},
	} {
		c.want(try(guard), store.ErrStaleSession)
		c.same("the job behind the guard", c.stored(j.ID), j)
	}
	c.must(try(store.Guard{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLive, Renewals: region.Renewals}))
	j = c.stored(j.ID)

	live := store.Guard{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLive}
	_, err = c.ExpireSession(c.ctx, "r", region.Epoch, region.Renewals, c.now)
	c.must(err)
	finish := []store.Change{c.change(j, finished)}
	_, err = c.Commit(c.ctx, &live, finish)
	c.want(err, store.ErrStaleSession)
	lease := store.Guard{Region: "r", Epoch: region.Epoch, Lease: capacity.LeaseLost}
	errs, err := c.Commit(c.ctx, &lease, []store.Change{c.change(j, lost)})
	c.must(err)
	c.must(errs[0])
}

// testEveryField takes jobs through lives that set every field of the record.
func testEveryField(t *testing.T, open Opener) {
	c := newClient(t, open)
	decision := json.RawMessage(`{"region":"r","candidates":[{"region":"r","score":0.5}]}`)
	placeWhy := job.Event{Kind: job.Place, Region: "r", Reason: "fits", Message: "it has room", Decision: decision}
	spec := func(s *job.Spec) {
		s.Retries, s.Deadline, s.OnRegionLost = 1, time.Hour, job.Wait
		s.Labels = map[string]string{"a": "b"}
	}
	lives := [][]job.Event{
		{placeWhy, claim, applied, started, {Kind: job.Finished, Outputs: job.Outputs{"n": json.RawMessage(`1`), "text": json.RawMessage(`"a<b, }"`)}}},
		{placeWhy, claim, {Kind: job.Failure, Outputs: job.Outputs{"yes": json.RawMessage(`true`)}}, place("q"), claim, started, failure},
		{placeWhy, claim, released, placeWhy, claim, lost, placeWhy, claim, started, gone, returned, finished},
		{placeWhy, place("q"), unplace, place("r"), claim, started, cancel, stopped},
		{placeWhy, claim, {Kind: job.MoveAsked}, {Kind: job.Stopped}, place("q"), claim, started, gone},
		{{Kind: job.Failure, Reason: "never-fits", Message: "no region has such nodes"}},
		{{Kind: job.Stopped, StopReason: job.ByDeadline}},
	}
	for _, life := range lives {
		j := c.submit(spec)
		_, first := job.New(j.ID, j.Spec, c.now)
		want := []job.Transition{first}
		for _, event := range life {
			c.pass(1234567 * time.Nanosecond)
			want = append(want, c.change(j, event).Transition)
			j = c.apply(j, event)
			c.same("the record after "+string(event.Kind), c.stored(j.ID), j)
		}
		history, err := c.History(c.ctx, j.ID)
		c.must(err)
		want[0].At = j.SubmittedAt
		c.same("the history", history, want)
	}
}

func testSetLogs(t *testing.T, open Opener) {
	c := newClient(t, open)
	j := c.apply(c.submit(func(s *job.Spec) { s.Retries = 3 }), place("r"), claim, started, failure)
	first := j.AttemptID()
	c.must(c.SetLogs(c.ctx, first, job.LogsArchived))
	j.Logs = job.LogsArchived
	c.same("the job whose logs were archived", c.stored(j.ID), j)

	// A change by someone who read the job before does not undo it.
	stale := j
	stale.Logs = job.LogsLive
	c.apply(stale, place("r"))
	if got := c.stored(j.ID).Logs; got != job.LogsArchived {
		t.Errorf("a transition of the same attempt left the logs %s", got)
	}
	// Neither does one that says itself where the logs are.
	other := c.apply(c.submit(), place("r"), claim, started)
	c.must(c.SetLogs(c.ctx, other.AttemptID(), job.LogsPartial))
	c.apply(other, finished)
	if got := c.stored(other.ID).Logs; got != job.LogsPartial {
		t.Errorf("the end of the attempt left the logs %s", got)
	}

	// The next attempt has logs of its own, and the old one cannot touch them.
	j = c.apply(c.stored(j.ID), claim, started)
	if got := c.stored(j.ID).Logs; got != job.LogsLive {
		t.Errorf("the logs of a new attempt are %s", got)
	}
	before := len(c.events(store.EventQuery{}))
	c.must(c.SetLogs(c.ctx, first, job.LogsLost))
	c.same("the job after late word of an old attempt", c.stored(j.ID), j)
	c.must(c.SetLogs(c.ctx, j.AttemptID(), job.LogsArchived))
	if after := len(c.events(store.EventQuery{})); after != before {
		t.Errorf("%d events became %d by SetLogs", before, after)
	}
}

func testDelete(t *testing.T, open Opener) {
	c := newClient(t, open)
	done := c.apply(c.submit(), place("r"), claim, started, finished)
	failed := c.apply(c.submit(), job.Event{Kind: job.Failure})
	running := c.apply(c.submit(), place("r"), claim, started)
	queued := c.submit()
	errs, err := c.Delete(c.ctx, []job.ID{done.ID, running.ID, failed.ID, job.NewID(), queued.ID}, c.now, 0)
	c.must(err)
	if len(errs) != 5 {
		t.Fatalf("%d errors for 5 jobs", len(errs))
	}
	c.must(errs[0])
	c.want(errs[1], store.ErrConflict)
	c.must(errs[2])
	c.want(errs[3], store.ErrNotFound)
	c.want(errs[4], store.ErrConflict)

	for _, id := range []job.ID{done.ID, failed.ID} {
		_, err = c.Job(c.ctx, id)
		c.want(err, store.ErrNotFound)
		_, err = c.Manifest(c.ctx, id)
		c.want(err, store.ErrNotFound)
		_, err = c.History(c.ctx, id)
		c.want(err, store.ErrNotFound)
		if left := c.events(store.EventQuery{Subject: store.JobSubject(id)}); len(left) > 0 {
			t.Errorf("a deleted job left events: %s", text(left))
		}
	}
	c.same("a running job", c.stored(running.ID), running)
	counts, err := c.Counts(c.ctx)
	c.must(err)
	c.same("counts", counts, []store.Count{
		{Namespace: "team-a", State: job.Queued, Jobs: 1},
		{Namespace: "team-a", Region: "r", State: job.Running, Jobs: 1},
	})

	many := ids(c.many(250, func(*job.Spec) {}, stopped))
	errs, err = c.Delete(c.ctx, many, c.now, 0)
	c.must(err)
	if len(errs) != len(many) {
		t.Fatalf("%d errors for %d jobs", len(errs), len(many))
	}
	for _, err := range errs {
		c.must(err)
	}
	page, err := c.List(c.ctx, store.ListQuery{Limit: 10})
	c.must(err)
	c.same("the jobs left", ids(page.Jobs), []job.ID{queued.ID, running.ID})
}

func testDeleteKeys(t *testing.T, open Opener) {
	const keep = 24 * time.Hour
	c := newClient(t, open)
	old := c.apply(c.insert(keyed(c.submission(), "me", "old", "h")), stopped)
	c.pass(20 * time.Hour)
	young := c.apply(c.insert(keyed(c.submission(), "me", "young", "h")), stopped)
	c.pass(5 * time.Hour)
	errs, err := c.Delete(c.ctx, []job.ID{old.ID, young.ID}, c.now, keep)
	c.must(err)
	c.must(errs[0])
	c.must(errs[1])

	// The key that was kept still answers with the job as it was last.
	replay := c.tryInsert(keyed(c.submission(), "me", "young", "h"))
	c.must(replay.Err)
	if replay.Created {
		t.Error("the replay of a deleted job made another")
	}
	c.same("the deleted job", replay.Job, young)
	made, err := c.MadeBy(c.ctx, store.IdempotencyKey{Identity: "me", Namespace: young.Spec.Namespace, Key: "young", BodyHash: "h"})
	c.must(err)
	c.same("the deleted job of the key", made, young)
	c.want(c.tryInsert(keyed(c.submission(), "me", "young", "h2")).Err, store.ErrKeyReused)
	c.insert(keyed(c.submission(), "me", "old", "h2"))

	// It goes when it has grown old.
	c.pass(20 * time.Hour)
	_, err = c.Delete(c.ctx, nil, c.now, keep)
	c.must(err)
	c.insert(keyed(c.submission(), "me", "young", "h2"))
}
