package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

func testEvents(t *testing.T, open Opener) {
	c := newClient(t, open)
	last, err := c.LastEvent(c.ctx)
	c.must(err)
	if got := c.events(store.EventQuery{After: last}); len(got) != 0 {
		t.Errorf("%d events in an empty store", len(got))
	}
	var want []job.Transition
	for range 3 {
		s := c.submission(func(s *job.Spec) { s.Namespace = "team-b" })
		want = append(want, s.Transition)
		j := c.insert(s)
		for _, event := range []job.Event{place("r"), claim, started, cancel, stopped} {
			c.pass(time.Second)
			want = append(want, c.change(j, event).Transition)
			j = c.apply(j, event)
		}
	}
	for _, limit := range []int{1, 5, 1000} {
		got := c.events(store.EventQuery{After: last, Limit: limit})
		if len(got) != len(want) {
			t.Fatalf("%d events instead of %d", len(got), len(want))
		}
		before := last
		for i, e := range got {
			w := want[i]
			c.same("an event", e, store.Event{
				ID: fmt.Sprintf("%s/%d", store.JobSubject(w.Job), w.Number), Cursor: e.Cursor, Type: w.Type,
				Subject: store.JobSubject(w.Job), Number: w.Number, Namespace: "team-b", At: w.At, Data: []byte(text(w)),
			})
			if e.Cursor <= before {
				t.Errorf("cursor %d comes after %d", e.Cursor, before)
			}
			before = e.Cursor
		}
		newest, err := c.LastEvent(c.ctx)
		c.must(err)
		if newest != before {
			t.Errorf("the newest event is %d, the last one read %d", newest, before)
		}
		oldest, err := c.OldestEvent(c.ctx)
		c.must(err)
		if oldest != got[0].Cursor {
			t.Errorf("the oldest event is %d, the first one read %d", oldest, got[0].Cursor)
		}
	}
}

func testEventFilters(t *testing.T, open Opener) {
	c := newClient(t, open)
	c.open("r")
	var last job.Job
	for i := range 6 {
		j := c.submit(func(s *job.Spec) { s.Namespace = []string{"team-a", "team-b", "team-c"}[i%3] })
		last = c.apply(j, place("r"), claim, cancel, stopped)
	}
	all := c.events(store.EventQuery{})
	middle := all[len(all)/2].Cursor
	for _, query := range []store.EventQuery{
		{Namespaces: []string{"team-a", "team-c"}},
		{Namespaces: []string{"nobody"}},
		{Subject: store.JobSubject(last.ID)},
		{Subject: store.JobSubject(job.NewID())},
		{Subject: store.RegionSubject("r")},
		{Subject: "something/else"},
		{Types: []string{"job.placed", "job.cancelled"}},
		{Types: []string{"job.c*", "region.*"}},
		{Types: []string{"*"}},
		{Types: []string{"*.cancelled", "re*ed"}},
		{Types: []string{"job.placed*placed", "job"}},
		{Types: []string{"job.stopping"}, Namespaces: []string{"team-b"}},
		{Subject: store.JobSubject(last.ID), Types: []string{"job.queued"}, Namespaces: []string{last.Spec.Namespace}},
		{Subject: store.JobSubject(last.ID), Namespaces: []string{"nobody"}},
	} {
		for _, query.After = range []int64{0, middle, last.Version} {
			var want []store.Event
			for _, e := range all {
				if e.Cursor > query.After && selectsEvent(query, e) {
					want = append(want, e)
				}
			}
			for _, query.Limit = range []int{1, 4, 1000} {
				c.same("events by "+text(query), c.events(query), want)
			}
		}
	}
}

// selectsEvent is what the contract says of a filter.
func selectsEvent(query store.EventQuery, e store.Event) bool {
	return (query.Subject == "" || query.Subject == e.Subject) &&
		(len(query.Namespaces) == 0 || slices.Contains(query.Namespaces, e.Namespace)) &&
		(len(query.Types) == 0 || slices.ContainsFunc(query.Types, func(pattern string) bool {
			prefix, suffix, open := strings.Cut(pattern, "*")
			rest, begins := strings.CutPrefix(e.Type, prefix)
			return pattern == e.Type || (open && begins && strings.HasSuffix(rest, suffix))
		}))
}

// testEventsMoveOn looks for one event behind many that do not match: the
// cursor must move, and a call must not read for ever.
func testEventsMoveOn(t *testing.T, open Opener) {
	c := newClient(t, open)
	for range 3 {
		var batch []store.Submission
		for range 700 {
			batch = append(batch, c.submission())
		}
		_, err := c.Insert(c.ctx, batch)
		c.must(err)
	}
	rare := c.submit(func(s *job.Spec) { s.Namespace = "rare" })
	last, err := c.LastEvent(c.ctx)
	c.must(err)
	for _, nothing := range []store.EventQuery{
		{Subject: store.JobSubject(job.NewID()), Limit: 10},
		{Subject: store.RegionSubject("nowhere"), Limit: 10},
	} {
		for calls := 1; nothing.After < last; calls++ {
			found, next, err := c.Events(c.ctx, nothing)
			c.must(err)
			if len(found) > 0 || next <= nothing.After || calls > 2100 {
				t.Fatalf("after %d calls the cursor stands at %d of %d, and was at %d; found %s", calls, next, last, nothing.After, text(found))
			}
			nothing.After = next
		}
	}
	query := store.EventQuery{Namespaces: []string{"rare"}, Limit: 10}
	for calls := 1; ; calls++ {
		found, next, err := c.Events(c.ctx, query)
		c.must(err)
		if len(found) == 1 {
			if found[0].Subject != store.JobSubject(rare.ID) {
				t.Errorf("found %s", text(found))
			}
			return
		}
		if next <= query.After || calls > 2100 {
			t.Fatalf("after %d calls the cursor stands at %d, and nothing was found", calls, next)
		}
		query.After = next
	}
}

func testRegionEvents(t *testing.T, open Opener) {
	c := newClient(t, open)
	r := c.open("r")
	c.pass(time.Minute)
	_, err := c.ExpireSession(c.ctx, "r", r.Epoch, r.Renewals, c.now)
	c.must(err)
	got := c.events(store.EventQuery{})
	if len(got) != 2 {
		t.Fatalf("%d events instead of 2", len(got))
	}
	data := store.RegionEvent{Region: "r", Epoch: r.Epoch, Session: r.Session, Cluster: r.Cluster}
	for i, e := range got {
		c.same("an event", e, store.Event{
			ID: fmt.Sprintf("%s/%d", store.RegionSubject("r"), i+1), Cursor: e.Cursor,
			Type: []string{"region.opened", "region.lost"}[i], Subject: store.RegionSubject("r"), Number: int64(i + 1),
			At: start.Add(time.Duration(i) * time.Minute), Data: []byte(text(data)),
		})
	}
}

func testEventsForgotten(t *testing.T, open Opener) {
	c := newClient(t, open)
	bounds := func() (oldest, last int64) {
		t.Helper()
		last, err := c.LastEvent(c.ctx)
		c.must(err)
		oldest, err = c.OldestEvent(c.ctx)
		c.must(err)
		return oldest, last
	}
	if oldest, last := bounds(); oldest != last+1 {
		t.Errorf("without events the oldest is %d and the last %d", oldest, last)
	}
	r := c.open("r")
	j := c.submit()
	c.pass(time.Hour)
	_, err := c.ExpireSession(c.ctx, "r", r.Epoch, r.Renewals, c.now)
	c.must(err)
	c.open("r")

	// Those of regions go by their age, at most as many as were asked for.
	for _, step := range []struct {
		before  time.Time
		limit   int
		removed int
	}{{start, 10, 0}, {start.Add(time.Minute), 10, 1}, {c.now.Add(1), 1, 1}, {c.now.Add(1), 10, 1}, {c.now.Add(1), 10, 0}} {
		removed, err := c.PruneRegionEvents(c.ctx, step.before, step.limit)
		c.must(err)
		if removed != step.removed {
			t.Errorf("%d events of regions removed instead of %d", removed, step.removed)
		}
	}
	left := c.events(store.EventQuery{})
	if len(left) != 1 || left[0].Subject != store.JobSubject(j.ID) {
		t.Fatalf("the events left are %s", text(left))
	}
	oldest, last := bounds()
	if oldest != left[0].Cursor || last <= oldest {
		t.Errorf("one old event is left, at %d; the oldest is %d and the last %d", left[0].Cursor, oldest, last)
	}

	// Those of a job go with it; no cursor and no number comes again.
	c.apply(j, stopped)
	_, before := bounds()
	_, err = c.Delete(c.ctx, []job.ID{j.ID}, c.now, 0)
	c.must(err)
	if oldest, last := bounds(); last != before || oldest != before+1 {
		t.Errorf("without events the oldest is %d and the last %d, which was %d", oldest, last, before)
	}
	r, err = c.SetSchedulable(c.ctx, "r", true, false, c.now)
	c.must(err)
	next := c.events(store.EventQuery{After: before})
	if len(next) != 1 || next[0].Number != r.Version || r.Version != 4 {
		t.Errorf("the event after all were removed is %s", text(next))
	}
}
