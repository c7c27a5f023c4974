package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

// newSchedule returns a valid one.
func (c *client) newSchedule(namespace, name string) schedule.Schedule {
	return schedule.Schedule{
		UID: string(job.NewID()), Namespace: namespace, Name: name, AppliedBy: "someone",
		Spec: schedule.Spec{Cron: "0 3 * * *", TimeZone: "Europe/Berlin", Missed: schedule.MissedAll, MissedLimit: 5, Concurrency: schedule.Forbid},
		Runs: []schedule.Run{
			{ID: "2030-01-02T02:00:00Z", Tick: c.now, Outcome: schedule.Submitted, Job: job.NewID(), At: c.now, TemplateVersion: 3},
			{ID: "by-hand", By: "someone", Outcome: schedule.Refused, Reason: "invalid", Message: "no", At: c.now},
		},
		Version: 1, Since: c.now, Next: c.now.Add(time.Hour), DueAt: c.now.Add(time.Hour), CreatedAt: c.now, UpdatedAt: c.now,
	}
}

func nameOf(s schedule.Schedule) store.ScheduleName {
	return store.ScheduleName{Namespace: s.Namespace, Name: s.Name}
}

func testSchedules(t *testing.T, open Opener) {
	c := newClient(t, open)
	s := c.newSchedule("team-a", "nightly")
	c.must(c.PutSchedule(c.ctx, s, []byte(`{"n":1}`)))
	read := func() schedule.Schedule {
		found, err := c.Schedule(c.ctx, nameOf(s))
		c.must(err)
		return found
	}
	document := func(want string) {
		text, err := c.ScheduleDocument(c.ctx, nameOf(s))
		c.must(err)
		if string(text) != want {
			t.Errorf("the document is %s instead of %s", text, want)
		}
	}
	c.same("the schedule", read(), s)
	document(`{"n":1}`)
	c.want(c.PutSchedule(c.ctx, s, []byte(`{"n":0}`)), store.ErrConflict)

	s.Version, s.Since, s.Spec.Paused, s.Next, s.DueAt = 2, c.now.Add(time.Hour), true, time.Time{}, time.Time{}
	c.must(c.PutSchedule(c.ctx, s, nil))
	c.same("the schedule after a change", read(), s)
	document(`{"n":1}`)
	c.want(c.PutSchedule(c.ctx, s, []byte(`{"n":0}`)), store.ErrConflict)
	s.Version = 4
	c.want(c.PutSchedule(c.ctx, s, []byte(`{"n":0}`)), store.ErrConflict)
	s.Version = 3
	c.must(c.PutSchedule(c.ctx, s, []byte(`{"n":2}`)))
	document(`{"n":2}`)

	missing := c.newSchedule("team-b", "nightly")
	missing.Version = 2
	c.want(c.PutSchedule(c.ctx, missing, nil), store.ErrNotFound)
	_, err := c.Schedule(c.ctx, nameOf(missing))
	c.want(err, store.ErrNotFound)
	_, err = c.ScheduleDocument(c.ctx, nameOf(missing))
	c.want(err, store.ErrNotFound)

	last := s
	last.Version = 3
	c.want(c.DeleteSchedule(c.ctx, last), store.ErrConflict)
	last.Version = 4
	c.must(c.DeleteSchedule(c.ctx, last))
	c.want(c.DeleteSchedule(c.ctx, last), store.ErrNotFound)
	_, err = c.ScheduleDocument(c.ctx, nameOf(s))
	c.want(err, store.ErrNotFound)
	again := c.newSchedule("team-a", "nightly")
	c.must(c.PutSchedule(c.ctx, again, []byte(`{"n":3}`)))
	c.same("one of the same name", read(), again)
	document(`{"n":3}`)
}

func testScheduleLists(t *testing.T, open Opener) {
	c := newClient(t, open)
	var names []store.ScheduleName
	for _, namespace := range []string{"team-b", "team-a", "team-c"} {
		for i := range 4 {
			s := c.newSchedule(namespace, fmt.Sprintf("s%d", 3-i))
			c.must(c.PutSchedule(c.ctx, s, []byte(`{}`)))
			names = append(names, nameOf(s))
		}
	}
	slices.SortFunc(names, func(a, b store.ScheduleName) int {
		return slices.Compare([]string{a.Namespace, a.Name}, []string{b.Namespace, b.Name})
	})
	for name, namespaces := range map[string][]string{
		"all": nil, "one": {"team-b"}, "two": {"team-c", "team-a"}, "none": {"team-d"},
	} {
		var want []store.ScheduleName
		for _, n := range names {
			if namespaces == nil || slices.Contains(namespaces, n.Namespace) {
				want = append(want, n)
			}
		}
		for _, limit := range []int{1, 3, 4, 100} {
			query := store.ScheduleQuery{Namespaces: namespaces, Limit: limit}
			var got []store.ScheduleName
			for more := true; more; {
				page, err := c.Schedules(c.ctx, query)
				c.must(err)
				if len(page.Schedules) > limit {
					t.Fatalf("%s: %d schedules on a page of %d", name, len(page.Schedules), limit)
				}
				for _, s := range page.Schedules {
					got = append(got, nameOf(s))
				}
				query.After, more = page.Next, page.More
			}
			c.same(fmt.Sprintf("%s by %d", name, limit), got, want)
		}
	}
}

func testDueSchedules(t *testing.T, open Opener) {
	c := newClient(t, open)
	put := func(name string, due time.Time) schedule.Schedule {
		s := c.newSchedule("team-a", name)
		s.DueAt = due
		c.must(c.PutSchedule(c.ctx, s, []byte(`{}`)))
		return s
	}
	put("c", c.now.Add(time.Hour))
	first := put("a", c.now.Add(-time.Hour))
	put("b", c.now)
	put("never", time.Time{})
	due := func(before time.Duration, limit int) []string {
		found, err := c.DueSchedules(c.ctx, c.now.Add(before), limit)
		c.must(err)
		var names []string
		for _, s := range found {
			names = append(names, s.Name)
		}
		return names
	}
	c.same("what is due now", due(0, 10), []string{"a"})
	c.same("what is due at once", due(1, 10), []string{"a", "b"})
	c.same("a part", due(2*time.Hour, 2), []string{"a", "b"})
	first.Version, first.DueAt = 2, time.Time{}
	c.must(c.PutSchedule(c.ctx, first, nil))
	c.same("without one that is done", due(2*time.Hour, 10), []string{"b", "c"})
}
