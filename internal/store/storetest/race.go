package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// racers is how many callers compete in each race.
const racers = 100

// race lets n callers begin at the same moment.
func race(n int, run func(i int)) {
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-begin
			run(i)
		})
	}
	close(begin)
	all.Wait()
}

func testRaceForKey(t *testing.T, open Opener) {
	c := newClient(t, open)
	for round := range 5 {
		key := fmt.Sprint(round)
		submissions := make([]store.Submission, racers)
		for i := range submissions {
			submissions[i] = keyed(c.submission(), "me", key, "h")
		}
		answers := make([]store.Inserted, racers)
		race(racers, func(i int) {
			got, err := c.Insert(c.ctx, submissions[i:i+1])
			if err != nil {
				t.Error(err)
				return
			}
			answers[i] = got[0]
		})
		created := 0
		for _, answer := range answers {
			if answer.Created {
				created++
			}
			if answer.Err != nil || answer.Job.ID != answers[0].Job.ID {
				t.Fatalf("one caller got %s (%v), another %s", answer.Job.ID, answer.Err, answers[0].Job.ID)
			}
		}
		if created != 1 {
			t.Fatalf("%d callers with one key created a job", created)
		}
	}
	if jobs := c.list(store.ListQuery{Limit: 100}); len(jobs) != 5 {
		t.Errorf("five keys made %d jobs", len(jobs))
	}
}

func testRaceForRoom(t *testing.T, open Opener) {
	c := newClient(t, open)
	submissions := make([]store.Submission, racers)
	for i := range submissions {
		submissions[i] = c.submission()
		submissions[i].MaxQueued = 10
	}
	var created atomic.Int64
	race(racers, func(i int) {
		got, err := c.Insert(c.ctx, submissions[i:i+1])
		switch {
		case err != nil:
			t.Error(err)
		case got[0].Created:
			created.Add(1)
		case !errors.Is(got[0].Err, store.ErrNamespaceFull):
			t.Error(got[0].Err)
		}
	})
	if created.Load() != 10 {
		t.Errorf("%d jobs found room for 10", created.Load())
	}
}

func testRaceForJob(t *testing.T, open Opener) {
	const rounds = 10
	c := newClient(t, open)
	j := c.submit(func(s *job.Spec) { s.Retries = 100 })
	for round := range rounds {
		j = c.apply(j, place("r"))
		changes := make([]store.Change, racers)
		for i := range changes {
			changes[i] = c.change(j, job.Event{Kind: job.Claim, Reason: fmt.Sprint(i)})
		}
		var winner atomic.Int64
		winner.Store(-1)
		race(racers, func(i int) {
			errs, err := c.Commit(c.ctx, nil, changes[i:i+1])
			switch {
			case err != nil:
				t.Error(err)
			case errs[0] == nil:
				if other := winner.Swap(int64(i)); other >= 0 {
					t.Errorf("round %d: %d and %d both won", round, other, i)
				}
			case !errors.Is(errs[0], store.ErrConflict):
				t.Error(errs[0])
			}
		})
		j = c.stored(j.ID)
		if j.Reason != fmt.Sprint(winner.Load()) || j.Attempt != round+1 {
			t.Fatalf("round %d: %d won, and the job says %s at attempt %d", round, winner.Load(), j.Reason, j.Attempt)
		}
		j = c.apply(j, failure)
	}
	history, err := c.History(c.ctx, j.ID)
	c.must(err)
	if len(history) != 1+3*rounds {
		t.Errorf("%d transitions after %d rounds of 3", len(history), rounds)
	}
}

func testRaceForLease(t *testing.T, open Opener) {
	c := newClient(t, open)
	for range 10 {
		seen, err := c.LeaderLease(c.ctx, "leader")
		c.must(err)
		var winners atomic.Int64
		race(racers, func(i int) {
			_, err := c.TakeLease(c.ctx, "leader", fmt.Sprint(i), seen.Renewals)
			if err == nil {
				winners.Add(1)
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
		if winners.Load() != 1 {
			t.Fatalf("%d callers took the lease", winners.Load())
		}
	}
}

func testRaceForSession(t *testing.T, open Opener) {
	c := newClient(t, open)
	epochs := make([]int64, racers)
	race(racers, func(i int) {
		r, err := c.OpenSession(c.ctx, "r", "cluster", fmt.Sprint(i), c.now)
		if err != nil {
			t.Error(err)
		}
		epochs[i] = r.Epoch
	})
	seen := map[int64]bool{}
	for _, epoch := range epochs {
		if seen[epoch] || epoch < 1 || epoch > racers {
			t.Fatalf("epoch %d came twice, or is none of 1 to %d", epoch, racers)
		}
		seen[epoch] = true
	}
	r, err := c.Region(c.ctx, "r")
	c.must(err)
	if r.Epoch != racers || epochs[indexOf(r.Session)] != racers {
		t.Errorf("after %d sessions the region is %s", racers, text(r))
	}
}

func indexOf(session string) (i int) {
	_, _ = fmt.Sscan(session, &i)
	return i
}

// testRaceAgainstGuard lets an agent report while its session is expired: a
// report is either before the loss or refused.
func testRaceAgainstGuard(t *testing.T, open Opener) {
	c := newClient(t, open)
	for range 10 {
		r := c.open("r")
		guard := store.Guard{Region: "r", Epoch: r.Epoch, Lease: capacity.LeaseLive}
		var changes []store.Change
		for _, j := range c.many(10, func(*job.Spec) {}, place("r"), claim) {
			changes = append(changes, c.change(j, finished))
		}
		accepted := make([]bool, len(changes))
		race(len(changes)+1, func(i int) {
			if i == len(changes) {
				if _, err := c.ExpireSession(c.ctx, "r", r.Epoch, r.Renewals, c.now); err != nil {
					t.Error(err)
				}
				return
			}
			errs, err := c.Commit(c.ctx, &guard, changes[i:i+1])
			accepted[i] = err == nil && errs[0] == nil
			if err != nil && !errors.Is(err, store.ErrStaleSession) {
				t.Error(err)
			}
		})
		loss := c.events(store.EventQuery{Subject: store.RegionSubject("r")})
		at := loss[len(loss)-1].Cursor
		for i, change := range changes {
			events := c.events(store.EventQuery{Subject: store.JobSubject(change.Job.ID), Types: []string{"job.succeeded"}})
			if accepted[i] != (len(events) == 1) {
				t.Errorf("a report was accepted: %t; its events are %s", accepted[i], text(events))
			}
			if len(events) == 1 && events[0].Cursor > at {
				t.Error("a report was accepted after the loss")
			}
		}
	}
}

// testFollow follows the stream while others write: nothing is missed, nothing
// comes twice, and each job's events come in their order.
func testFollow(t *testing.T, open Opener) {
	const writers, each = 8, 20
	c := newClient(t, open)
	done := make(chan struct{})
	go func() {
		defer close(done)
		race(writers, func(int) {
			for range each {
				j, err := c.writeLife()
				if err != nil {
					t.Errorf("job %s: %v", j, err)
				}
			}
		})
	}()
	c.Cleanup(func() { <-done })
	numbers := map[string]int64{}
	total := 0
	query := store.EventQuery{Limit: 50}
	for finished := false; ; {
		page, next, err := c.Events(c.ctx, query)
		c.must(err)
		for _, e := range page {
			if numbers[e.Subject]++; numbers[e.Subject] != e.Number {
				t.Fatalf("event %d of %s came as number %d", e.Number, e.Subject, numbers[e.Subject])
			}
			total++
		}
		if finished && len(page) == 0 {
			break
		}
		query.After = next
		select {
		case <-done:
			finished = true
		default:
		}
	}
	if want := writers * each * 4; total != want {
		t.Errorf("%d events of %d", total, want)
	}
}

// writeLife takes one job through its life, without failing the test: it runs
// in goroutines.
func (c *client) writeLife() (job.ID, error) {
	s := c.submission()
	answers, err := c.Insert(c.ctx, []store.Submission{s})
	if err == nil {
		err = answers[0].Err
	}
	j := s.Job
	for _, event := range []job.Event{place("r"), claim, finished} {
		if err != nil {
			break
		}
		var change store.Change
		if change.Job, change.Transition, err = j.Apply(event, c.now); err != nil {
			break
		}
		var errs []error
		if errs, err = c.Commit(c.ctx, nil, []store.Change{change}); err == nil {
			err = errs[0]
		}
		j = change.Job
	}
	return j.ID, err
}
