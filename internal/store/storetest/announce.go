package storetest

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
)

// told fails unless the events of a subject are these, in this order.
func (c *client) told(subject string, want ...*store.Event) {
	c.Helper()
	got := c.events(store.EventQuery{Subject: subject})
	for i := range got {
		got[i].Cursor = 0
	}
	var wanted []store.Event
	for _, e := range want {
		wanted = append(wanted, *e)
	}
	c.same("the events of "+subject, got, wanted)
}

func testPipelineEvents(t *testing.T, open Opener) {
	c := newClient(t, open)
	key := store.IdempotencyKey{Identity: "ci", Namespace: "team-a", Key: "k", BodyHash: "h"}
	submitted := func(p *store.NewPipeline) { p.Key, p.Pipeline.Event = &key, pipeline.EventSubmitted }
	p := c.pipeline(submitted)
	want := []*store.Event{store.OfPipeline(&p)}
	// A replay is no news.
	replay := c.newPipeline(submitted)
	_, created, err := c.InsertPipeline(c.ctx, replay)
	c.must(err)
	if created {
		t.Error("a replay made a pipeline")
	}
	c.told(store.PipelineSubject(replay.Pipeline.ID))

	read := func() pipeline.Pipeline {
		found, err := c.Pipeline(c.ctx, p.ID)
		c.must(err)
		if found.Event != "" {
			t.Errorf("the event %s was kept", found.Event)
		}
		found.Version++
		return found
	}
	c.pass(time.Minute)
	quiet := read()
	c.must(c.UpdatePipeline(c.ctx, quiet))
	failed := read()
	failed.Event, failed.State, failed.Message, failed.UpdatedAt = pipeline.EventFailed, pipeline.Failed, "step first failed", c.now
	c.must(c.UpdatePipeline(c.ctx, failed))
	want = append(want, store.OfPipeline(&failed))
	// What is not written is not told.
	c.want(c.UpdatePipeline(c.ctx, failed), store.ErrConflict)
	c.told(store.PipelineSubject(p.ID), want...)
	c.must(c.DeletePipeline(c.ctx, p.ID, failed.Version))
	c.told(store.PipelineSubject(p.ID), want...)

	removed, err := c.PruneRegionEvents(c.ctx, c.now, 100)
	c.must(err)
	c.told(store.PipelineSubject(p.ID), want[1:]...)
	if removed != 1 {
		t.Errorf("%d old events were removed instead of 1", removed)
	}
}

func testScheduleEvents(t *testing.T, open Opener) {
	c := newClient(t, open)
	s := c.newSchedule("team-a", "nightly")
	s.Event = schedule.EventCreated
	c.must(c.PutSchedule(c.ctx, s, []byte(`{}`)))
	want := []*store.Event{store.OfSchedule(&s)}
	write := func(event string, news ...schedule.Run) {
		c.pass(time.Minute)
		next, err := c.Schedule(c.ctx, nameOf(s))
		c.must(err)
		if next.Event != "" || next.News != nil {
			t.Errorf("the event %s was kept", next.Event)
		}
		next.Version, next.UpdatedAt, next.Event, next.News = next.Version+1, c.now, event, news
		if event == schedule.EventDeleted {
			c.must(c.DeleteSchedule(c.ctx, next))
		} else {
			c.must(c.PutSchedule(c.ctx, next, nil))
			c.want(c.PutSchedule(c.ctx, next, nil), store.ErrConflict)
		}
		if event != "" {
			want = append(want, store.OfSchedule(&next))
		}
	}
	write("")
	write(schedule.EventSubmitted, schedule.Run{ID: "2030-01-02T02:00:00Z", Outcome: schedule.Submitted, Job: job.NewID(), At: c.now})
	write(schedule.EventDeleted)
	// The same name, another schedule: its versions begin anew.
	again := c.newSchedule("team-a", "nightly")
	again.Event = schedule.EventCreated
	c.must(c.PutSchedule(c.ctx, again, []byte(`{}`)))
	c.told(store.ScheduleSubject(s.UID), want...)
	c.told(store.ScheduleSubject(again.UID), store.OfSchedule(&again))
	if mine := c.events(store.EventQuery{Namespaces: []string{"team-a"}, Types: []string{"schedule.*"}}); len(mine) != len(want)+1 {
		t.Errorf("%d events in the namespace instead of %d", len(mine), len(want)+1)
	}
}
