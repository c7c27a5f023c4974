package storetest

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func testCounts(t *testing.T, open Opener) {
	c := newClient(t, open)
	check := func(want ...store.Count) {
		t.Helper()
		got, err := c.Counts(c.ctx)
		c.must(err)
		c.same("counts", byNamespace(got), byNamespace(want))
	}
	check()
	a, b := c.submit(), c.submit()
	d := c.submit(func(s *job.Spec) { s.Namespace, s.Retries = "team-b", 1 })
	check(store.Count{Namespace: "team-a", State: job.Queued, Jobs: 2}, store.Count{Namespace: "team-b", State: job.Queued, Jobs: 1})
	a, b, d = c.apply(a, place("r"), claim, started), c.apply(b, place("r"), place("q")), c.apply(d, place("r"), claim, failure)
	check(
		store.Count{Namespace: "team-a", Region: "r", State: job.Running, Jobs: 1},
		store.Count{Namespace: "team-a", Region: "q", State: job.Placed, Jobs: 1},
		store.Count{Namespace: "team-b", State: job.Queued, Jobs: 1},
	)
	c.apply(a, finished)
	c.apply(b, stopped)
	c.apply(d, stopped)
	check(
		store.Count{Namespace: "team-a", Region: "r", State: job.Succeeded, Jobs: 1},
		store.Count{Namespace: "team-a", Region: "q", State: job.Cancelled, Jobs: 1},
		store.Count{Namespace: "team-b", State: job.Cancelled, Jobs: 1},
	)
}

func testThroughput(t *testing.T, open Opener) {
	c := newClient(t, open)
	first := start.Truncate(time.Minute)
	c.submit(func(s *job.Spec) { s.Retries = 1 })
	j := c.apply(c.submit(func(s *job.Spec) { s.Retries = 1 }), place("r"), claim, failure)
	c.now = first.Add(time.Minute)
	c.apply(j, place("r"), claim, finished)
	c.apply(c.submit(), stopped)
	c.now = first.Add(20 * time.Hour)
	c.apply(c.submit(), job.Event{Kind: job.Failure})
	want := []store.Throughput{
		{Minute: first, State: job.Queued, Jobs: 2},
		{Minute: first.Add(time.Minute), State: job.Cancelled, Jobs: 1},
		{Minute: first.Add(time.Minute), State: job.Queued, Jobs: 1},
		{Minute: first.Add(time.Minute), State: job.Succeeded, Jobs: 1},
		{Minute: first.Add(20 * time.Hour), State: job.Failed, Jobs: 1},
		{Minute: first.Add(20 * time.Hour), State: job.Queued, Jobs: 1},
	}
	for _, since := range []struct {
		at   time.Time
		want []store.Throughput
	}{{first, want}, {first.Add(time.Minute), want[1:]}, {first.Add(time.Hour), want[4:]}, {first.Add(30 * time.Hour), nil}} {
		got, err := c.Throughput(c.ctx, since.at)
		c.must(err)
		c.same("throughput", byMinute(got), since.want)
	}
}

func testOldestWaiting(t *testing.T, open Opener) {
	c := newClient(t, open)
	check := func(want time.Time) {
		t.Helper()
		got, err := c.OldestWaiting(c.ctx)
		c.must(err)
		c.same("the oldest waiting job", got, want)
	}
	check(time.Time{})
	urgent := func(s *job.Spec) { s.Priority, s.Retries = 5, 1 }
	first := c.submit(urgent)
	c.pass(time.Second)
	second := c.submit()
	c.pass(time.Second)
	c.submit(urgent)
	check(first.SubmittedAt)
	first = c.apply(first, place("r"))
	check(second.SubmittedAt)
	// One that may not be placed yet waits, too.
	first = c.apply(first, claim, failure)
	check(first.SubmittedAt)
	c.apply(first, stopped)
	check(second.SubmittedAt)
}
