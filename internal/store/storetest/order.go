package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// byPosition orders as waiting jobs are ordered.
func byPosition(a, b job.Job) int {
	return cmp.Or(cmp.Compare(b.Spec.Priority, a.Spec.Priority), strings.Compare(string(a.ID), string(b.ID)))
}

func positionOf(j job.Job) store.Position {
	return store.Position{Priority: j.Spec.Priority, ID: j.ID}
}

// inOrder submits jobs of one class with many ties of priority, and returns
// them in their order.
func (c *client) inOrder(n int) []job.Job {
	var all []job.Job
	for i := range n {
		all = append(all, c.submit(func(s *job.Spec) { s.Priority = []int{5, 0, 1000, 5}[i%4] }))
	}
	slices.SortFunc(all, byPosition)
	return all
}

// pages reads a list page by page.
func pages[K any](c *client, size int, first K, read func(after K, limit int) ([]job.Job, error), key func(job.Job) K) []job.Job {
	c.Helper()
	var all []job.Job
	after := first
	for {
		page, err := read(after, size)
		c.must(err)
		if len(page) > size {
			c.Fatalf("%d jobs on a page of %d", len(page), size)
		}
		all = append(all, page...)
		if len(page) < size {
			return all
		}
		if len(all) > 10_000 {
			c.Fatal("the pages never end")
		}
		after = key(page[len(page)-1])
	}
}

func testWaiting(t *testing.T, open Opener) {
	c := newClient(t, open)
	want := c.inOrder(23)
	class := want[0].Spec.Class
	c.insert(c.submissionOf(2000))
	waiting := func(after store.Position, limit int) ([]job.Job, error) {
		return c.Waiting(c.ctx, class, after, limit)
	}
	for _, size := range []int{1, 4, 23, 100} {
		c.same(fmt.Sprintf("waiting jobs, %d a page", size), pages(c, size, store.Position{}, waiting, positionOf), want)
	}
	// A position without an ID is before all; others need not exist.
	page, err := waiting(store.Position{Priority: 3}, 100)
	c.must(err)
	c.same("after a position without an ID", ids(page), ids(want))
	page, err = waiting(store.Position{Priority: 5, ID: "0"}, 100)
	c.must(err)
	c.same("after the beginning of priority 5", ids(page), ids(want[slices.IndexFunc(want, func(j job.Job) bool { return j.Spec.Priority == 5 }):]))
	page, err = waiting(store.Position{Priority: 5, ID: "g"}, 100)
	c.must(err)
	c.same("after the end of priority 5", ids(page), ids(want[slices.IndexFunc(want, func(j job.Job) bool { return j.Spec.Priority < 5 }):]))

	c.apply(want[2], place("r"))
	c.apply(want[5], stopped)
	c.apply(want[7], place("r"), unplace)
	page, err = waiting(positionOf(want[2]), 100)
	c.must(err)
	c.same("after a job that has gone", ids(page), ids(slices.Delete(slices.Clone(want[3:]), 2, 3)))
	page, err = c.Waiting(c.ctx, "no such class", store.Position{}, 10)
	c.must(err)
	if len(page) != 0 {
		t.Errorf("%d jobs of a class that is not", len(page))
	}
}

func testWaitingClasses(t *testing.T, open Opener) {
	c := newClient(t, open)
	priority := func(n int) func(*job.Spec) { return func(s *job.Spec) { s.Priority = n } }
	spot := func(s *job.Spec) {
		s.Placement = job.Constraints{CapacityType: capacity.Spot, AvoidRegions: []string{"r"}}
	}
	early := c.insert(c.submissionOf(100))
	c.pass(time.Second)
	constrained := c.insert(c.submissionOf(100, spot))
	c.pass(time.Second)
	urgent := c.insert(c.submissionOf(200, priority(9)))
	c.insert(c.submissionOf(200))
	second := c.insert(c.submissionOf(100))
	placed := c.apply(c.insert(c.submissionOf(300, priority(50))), place("r"))

	class := func(s job.Job, cpu int64) store.WaitingClass {
		return store.WaitingClass{
			Class: s.Spec.Class, Demand: c.submissionOf(cpu).Demand, Constraints: s.Spec.Placement,
			Head: positionOf(s), Since: s.SubmittedAt,
		}
	}
	check := func(limit int, want ...store.WaitingClass) {
		t.Helper()
		got, err := c.WaitingClasses(c.ctx, store.Position{}, limit)
		c.must(err)
		c.same("waiting classes", got, want)
		for i := range want {
			got, err := c.WaitingClasses(c.ctx, want[i].Head, limit)
			c.must(err)
			c.same(fmt.Sprintf("waiting classes after the one at %d", i), got[:min(len(got), len(want)-i-1)], want[i+1:])
		}
	}
	check(10, class(urgent, 200), class(early, 100), class(constrained, 100))
	check(2, class(urgent, 200), class(early, 100))

	c.apply(early, place("r"))
	check(10, class(urgent, 200), class(constrained, 100), class(second, 100))
	c.apply(second, stopped)
	placed = c.apply(placed, unplace)
	check(10, class(placed, 300), class(urgent, 200), class(constrained, 100))
	c.apply(placed, place("r"))
	c.apply(c.stored(early.ID), unplace)
	check(10, class(urgent, 200), class(early, 100), class(constrained, 100))
}

func testWake(t *testing.T, open Opener) {
	c := newClient(t, open)
	retry := func() job.Job {
		return c.apply(c.submit(func(s *job.Spec) { s.Retries = 5 }), place("r"), claim, started, failure)
	}
	next, err := c.Wake(c.ctx, c.now)
	c.must(err)
	if !next.IsZero() {
		t.Errorf("nothing waits, and the next is due at %s", next)
	}
	first := retry()
	c.pass(2 * time.Second)
	second := retry()
	waiting := func(want ...job.Job) {
		t.Helper()
		jobs, err := c.Waiting(c.ctx, first.Spec.Class, store.Position{}, 10)
		c.must(err)
		c.same("waiting jobs", ids(jobs), ids(want))
		classes, err := c.WaitingClasses(c.ctx, store.Position{}, 10)
		c.must(err)
		if (len(classes) > 0) != (len(want) > 0) {
			t.Errorf("%d waiting classes", len(classes))
		}
	}
	waiting()
	for _, step := range []struct {
		now, next time.Time
		waiting   []job.Job
	}{
		{first.NotBefore.Add(-1), first.NotBefore, nil},
		{first.NotBefore, second.NotBefore, []job.Job{first}},
		{first.NotBefore.Add(time.Second), second.NotBefore, []job.Job{first}},
		{second.NotBefore.Add(time.Hour), time.Time{}, []job.Job{first, second}},
	} {
		next, err := c.Wake(c.ctx, step.now)
		c.must(err)
		c.same("when the next is due", next, step.next)
		waiting(step.waiting...)
	}
	c.same("a woken job", c.stored(first.ID), first)

	// One that is stopped while it waits never wakes.
	third := retry()
	c.apply(third, stopped)
	next, err = c.Wake(c.ctx, third.NotBefore)
	c.must(err)
	if !next.IsZero() {
		t.Errorf("a stopped job is due at %s", next)
	}
	waiting(first, second)
	// Many at once.
	c.many(250, func(s *job.Spec) { s.Retries = 5 }, place("r"), claim, failure)
	_, err = c.Wake(c.ctx, c.now.Add(time.Hour))
	c.must(err)
	jobs, err := c.Waiting(c.ctx, first.Spec.Class, store.Position{}, 1000)
	c.must(err)
	if len(jobs) != 252 {
		t.Errorf("%d of 252 jobs are awake", len(jobs))
	}
}

func testAhead(t *testing.T, open Opener) {
	c := newClient(t, open)
	all := c.inOrder(12)
	for i := range 6 {
		all = append(all, c.insert(c.submissionOf(int64(2000+i), func(s *job.Spec) { s.Priority = i })))
	}
	slices.SortFunc(all, byPosition)
	for i, j := range all {
		for _, limit := range []int{1, 7, 1000} {
			ahead, err := c.Ahead(c.ctx, positionOf(j), limit)
			c.must(err)
			if want := min(i, limit); ahead != want {
				t.Errorf("%d ahead of job %d, up to %d, instead of %d", ahead, i, limit, want)
			}
		}
	}
	last := all[len(all)-1]
	c.apply(all[0], place("r"))
	c.apply(c.submit(func(s *job.Spec) { s.Retries, s.Priority = 1, 1000 }), place("r"), claim, failure)
	ahead, err := c.Ahead(c.ctx, positionOf(last), 1000)
	c.must(err)
	if ahead != len(all)-2 {
		t.Errorf("%d ahead of the last of %d", ahead, len(all)-1)
	}
	ahead, err = c.Ahead(c.ctx, store.Position{Priority: 3}, 1000)
	c.must(err)
	if ahead != 0 {
		t.Errorf("%d ahead of the position before all", ahead)
	}
}

func testPromises(t *testing.T, open Opener) {
	c := newClient(t, open)
	check := func(want ...store.Promise) {
		t.Helper()
		got, err := c.Promises(c.ctx)
		c.must(err)
		c.same("promises", byRegion(got), byRegion(want))
	}
	promise := func(region string, cpu int64, count int) store.Promise {
		s := c.submissionOf(cpu)
		return store.Promise{Region: region, Class: s.Job.Spec.Class, Demand: s.Demand, Count: count}
	}
	check()
	a, b, d := c.insert(c.submissionOf(100)), c.insert(c.submissionOf(100)), c.insert(c.submissionOf(200))
	a, b, d = c.apply(a, place("r")), c.apply(b, place("r")), c.apply(d, place("q"))
	check(promise("r", 100, 2), promise("q", 200, 1))
	a, b, d = c.apply(a, claim), c.apply(b, place("q")), c.apply(d, unplace)
	check(promise("r", 100, 1), promise("q", 100, 1))
	c.apply(a, applied)
	c.apply(d, stopped)
	check(promise("q", 100, 1))
	c.apply(b, claim, lost)
	check()
}

func byRegion(promises []store.Promise) []store.Promise {
	return slices.SortedFunc(slices.Values(promises), func(a, b store.Promise) int {
		return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(string(a.Class), string(b.Class)))
	})
}

func testPlaced(t *testing.T, open Opener) {
	c := newClient(t, open)
	want := c.inOrder(17)
	for i, j := range want {
		want[i] = c.apply(j, place("r"))
	}
	c.apply(c.insert(c.submissionOf(50)), place("q"))
	c.submit()
	placed := func(after store.Position, limit int) ([]job.Job, error) { return c.Placed(c.ctx, "r", after, limit) }
	for _, size := range []int{1, 5, 17, 100} {
		c.same(fmt.Sprintf("placed jobs, %d a page", size), pages(c, size, store.Position{}, placed, positionOf), want)
	}
	c.apply(want[1], claim)
	c.apply(want[4], place("q"))
	page, err := placed(positionOf(want[1]), 100)
	c.must(err)
	c.same("after a job that has gone", ids(page), ids(slices.Delete(slices.Clone(want[2:]), 2, 3)))
}

func testPlacedSince(t *testing.T, open Opener) {
	c := newClient(t, open)
	var want []job.Job
	for i := range 6 {
		want = append(want, c.apply(c.submit(), place([]string{"r", "q"}[i%2])))
		c.pass(time.Minute)
	}
	check := func(before time.Time, limit int, want ...job.Job) {
		t.Helper()
		got, err := c.PlacedSince(c.ctx, before, limit)
		c.must(err)
		c.same("placed since", ids(got), ids(want))
	}
	check(c.now, 10, want...)
	check(c.now, 2, want[:2]...)
	check(want[3].PlacedAt, 10, want[:3]...)
	check(want[0].PlacedAt, 10)
	c.apply(want[0], claim)
	again := c.apply(want[1], place("r"))
	c.pass(time.Minute)
	check(c.now, 10, append(slices.Clone(want[2:]), again)...)
	check(c.now.Add(-time.Minute), 10, want[2:]...)
}

func testAttempts(t *testing.T, open Opener) {
	c := newClient(t, open)
	var active, claimed []job.Job
	for i := range 15 {
		j := c.submit(func(s *job.Spec) { s.Priority, s.OnRegionLost = i%3, job.Wait })
		j = c.apply(j, [][]job.Event{{place("r"), claim}, {place("r"), claim, applied}, {place("r"), claim, started}}[i%3]...)
		active = append(active, j)
		if j.State == job.Claimed {
			claimed = append(claimed, j)
		}
	}
	c.apply(c.submit(), place("q"), claim)
	c.apply(c.submit(), place("r"))
	c.apply(c.submit(), place("r"), claim, finished)
	idOf := func(j job.Job) job.ID { return j.ID }
	attempts := func(after job.ID, limit int) ([]job.Job, error) { return c.Attempts(c.ctx, "r", after, limit) }
	started := func(after job.ID, limit int) ([]job.Job, error) { return c.Claimed(c.ctx, "r", after, limit) }
	for _, size := range []int{1, 4, 15, 100} {
		c.same("attempts", pages(c, size, "", attempts, idOf), active)
		c.same("claimed jobs", pages(c, size, "", started, idOf), claimed)
	}

	// Those that sit out a loss are attempts, but not up for a move.
	for i := range 3 {
		active[i] = c.apply(active[i], gone)
	}
	active[2] = c.apply(active[2], returned)
	c.same("attempts", pages(c, 4, "", attempts, idOf), active)
	ranked := slices.SortedFunc(slices.Values(active[2:]), byPosition)
	got, err := c.AttemptsByPriority(c.ctx, "r", 100)
	c.must(err)
	c.same("attempts by priority", ids(got), ids(ranked))
	got, err = c.AttemptsByPriority(c.ctx, "r", 3)
	c.must(err)
	c.same("the first attempts by priority", ids(got), ids(ranked[:3]))
}

func testUnwanted(t *testing.T, open Opener) {
	c := newClient(t, open)
	move := job.Event{Kind: job.MoveAsked}
	var want []job.Job
	for i := range 9 {
		j := c.apply(c.submit(), place("r"), claim)
		if i%3 > 0 {
			j = c.apply(j, []job.Event{cancel, move}[i%2])
			want = append(want, j)
		}
	}
	c.apply(c.submit(), place("q"), claim, cancel)
	unwanted := func(after job.ID, limit int) ([]job.Job, error) { return c.Unwanted(c.ctx, "r", after, limit) }
	idOf := func(j job.Job) job.ID { return j.ID }
	for _, size := range []int{1, 2, 100} {
		c.same("unwanted", pages(c, size, "", unwanted, idOf), want)
	}
	c.apply(want[0], job.Event{Kind: job.Stopped})
	c.apply(want[1], started)
	c.apply(want[2], finished)
	got, err := unwanted("", 100)
	c.must(err)
	c.same("unwanted", ids(got), append([]job.ID{want[1].ID}, ids(want[3:])...))
}

func testSuspended(t *testing.T, open Opener) {
	c := newClient(t, open)
	var want []job.Job
	for i := range 5 {
		wait := func(s *job.Spec) { s.OnRegionLost, s.OnRegionLostLimit = job.Wait, time.Hour }
		want = append(want, c.apply(c.submit(wait), place([]string{"r", "q"}[i%2]), claim, started, gone))
		c.pass(time.Minute)
	}
	// One that waits for less long is due before all others, though it was
	// lost after them.
	short := c.apply(c.submit(func(s *job.Spec) { s.OnRegionLost, s.OnRegionLostLimit = job.Wait, time.Minute }),
		place("r"), claim, started, gone)
	check := func(now time.Time, limit int, want ...job.Job) {
		t.Helper()
		got, err := c.Suspended(c.ctx, now, limit)
		c.must(err)
		c.same("suspended", ids(got), ids(want))
	}
	check(short.WaitEndsAt().Add(-time.Nanosecond), 10)
	check(short.WaitEndsAt(), 10, short)
	check(want[2].WaitEndsAt(), 10, short, want[0], want[1], want[2])
	check(want[2].WaitEndsAt(), 2, short, want[0])
	c.apply(short, lost)
	c.apply(want[0], returned)
	c.apply(want[2], finished)
	check(c.now.Add(2*time.Hour), 10, want[1], want[3], want[4])
	// Who is to stop need not wait.
	stopping := c.apply(want[3], cancel)
	check(c.now, 10, stopping)
}

func testOverdue(t *testing.T, open Opener) {
	c := newClient(t, open)
	deadline := func(d time.Duration) func(*job.Spec) { return func(s *job.Spec) { s.Deadline = d } }
	queued := c.submit(deadline(time.Minute))
	placed := c.apply(c.submit(deadline(time.Minute)), place("r"))
	running := c.apply(c.submit(deadline(time.Minute)), place("r"), claim, started)
	moving := c.apply(c.submit(deadline(time.Minute)), place("r"), claim, job.Event{Kind: job.MoveAsked})
	c.apply(c.submit(deadline(time.Minute)), place("r"), claim, cancel)
	c.apply(c.submit(deadline(time.Minute)), stopped)
	later := c.submit(deadline(time.Hour))
	c.submit()
	check := func(now time.Time, want ...job.Job) {
		t.Helper()
		got, err := c.Overdue(c.ctx, now, 100)
		c.must(err)
		slices.SortFunc(got, func(a, b job.Job) int { return strings.Compare(string(a.ID), string(b.ID)) })
		c.same("overdue", ids(got), ids(want))
	}
	check(queued.DeadlineAt.Add(-1))
	check(queued.DeadlineAt.Add(1), queued, placed, running, moving)
	c.apply(running, job.Event{Kind: job.StopAsked, StopReason: job.ByDeadline})
	c.apply(placed, job.Event{Kind: job.Stopped, StopReason: job.ByDeadline})
	check(queued.DeadlineAt.Add(1), queued, moving)
	check(later.DeadlineAt.Add(1), queued, moving, later)
	got, err := c.Overdue(c.ctx, later.DeadlineAt.Add(1), 2)
	c.must(err)
	if len(got) != 2 {
		t.Errorf("%d overdue jobs, where two were asked for", len(got))
	}
}

func testExpired(t *testing.T, open Opener) {
	c := newClient(t, open)
	ttl := func(d time.Duration) func(*job.Spec) { return func(s *job.Spec) { s.TTLAfterFinished = d } }
	short := c.apply(c.submit(ttl(time.Minute)), stopped)
	c.pass(time.Second)
	long := c.apply(c.submit(ttl(time.Hour)), place("r"), claim, started, finished)
	c.apply(c.submit(ttl(time.Minute)), place("r"), claim, started)
	check := func(now time.Time, limit int, want ...job.ID) {
		t.Helper()
		got, err := c.Expired(c.ctx, now, limit)
		c.must(err)
		c.same("expired", got, want)
	}
	check(short.ExpiresAt().Add(-1), 10)
	check(short.ExpiresAt().Add(1), 10, short.ID)
	check(long.ExpiresAt().Add(1), 10, short.ID, long.ID)
	check(long.ExpiresAt().Add(1), 1, short.ID)
	_, err := c.Delete(c.ctx, []job.ID{short.ID}, c.now, 0)
	c.must(err)
	check(long.ExpiresAt().Add(1), 10, long.ID)
}
