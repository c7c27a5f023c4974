package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// maxWebhooks is the limit of tests that do not look at it.
const maxWebhooks = 1000

// webhook returns a new webhook with every field of a request set.
func (c *client) webhook() store.Webhook {
	return store.Webhook{
		ID: string(job.NewID()), URL: "https://example.com/in?key=1", Description: "to é\n<there>", Namespace: "team-a",
		Types: []string{"job.*", "webhook.paused"}, Secrets: []store.WebhookSecret{{Key: []byte{0, 1, 254, 255}}},
		CreatedAt: c.now, CreatedBy: "someone", UpdatedAt: c.now,
	}
}

// listen makes a webhook for every event.
func (c *client) listen() store.Webhook {
	c.Helper()
	w := c.webhook()
	w.Namespace, w.Types = "", nil
	w, err := c.CreateWebhook(c.ctx, w, maxWebhooks)
	c.must(err)
	return w
}

// changed is the next version of a webhook.
func (c *client) changed(w store.Webhook) store.Webhook {
	w.Version++
	w.UpdatedAt = c.now
	return w
}

func (c *client) lastEvent() int64 {
	c.Helper()
	last, err := c.LastEvent(c.ctx)
	c.must(err)
	return last
}

func testWebhooks(t *testing.T, open Opener) {
	c := newClient(t, open)
	first, second := c.webhook(), c.webhook()
	_, err := c.Webhook(c.ctx, first.ID)
	c.want(err, store.ErrNotFound)
	c.submit()
	made, err := c.CreateWebhook(c.ctx, first, maxWebhooks)
	c.must(err)
	first.Version, first.After = 1, c.lastEvent()
	c.same("a new webhook", made, first)
	_, err = c.CreateWebhook(c.ctx, first, maxWebhooks)
	c.want(err, store.ErrConflict)
	_, err = c.CreateWebhook(c.ctx, second, 1)
	c.want(err, store.ErrTooMany)
	second, err = c.CreateWebhook(c.ctx, second, 2)
	c.must(err)
	all, err := c.Webhooks(c.ctx)
	c.must(err)
	c.same("webhooks", all, []store.Webhook{first, second})

	// FailingSince is an observation: it is no version, and a change keeps it.
	c.pass(time.Minute)
	c.must(c.SetFailing(c.ctx, first.ID, c.now))
	c.want(c.SetFailing(c.ctx, "nobody", c.now), store.ErrNotFound)
	since := c.now
	c.pass(time.Minute)
	paused := c.changed(first)
	paused.PausedAt, paused.PauseReason, paused.PauseMessage = c.now, "failing", "it fails"
	changed, err := c.ChangeWebhook(c.ctx, paused, store.EventWebhookPaused)
	c.must(err)
	paused.FailingSince = since
	c.same("a paused webhook", changed, paused)
	_, err = c.ChangeWebhook(c.ctx, paused, store.EventWebhookUpdated)
	c.want(err, store.ErrConflict)
	stored, err := c.Webhook(c.ctx, first.ID)
	c.must(err)
	c.same("a paused webhook that was read", stored, paused)

	c.pass(time.Minute)
	resumed := c.changed(paused)
	resumed.PausedAt, resumed.PauseReason, resumed.PauseMessage = time.Time{}, "", ""
	changed, err = c.ChangeWebhook(c.ctx, resumed, store.EventWebhookResumed)
	c.must(err)
	resumed.FailingSince, resumed.After = time.Time{}, c.lastEvent()
	c.same("a resumed webhook", changed, resumed)

	c.want(c.DeleteWebhook(c.ctx, first.ID, 1, c.now), store.ErrConflict)
	c.must(c.DeleteWebhook(c.ctx, first.ID, resumed.Version, c.now))
	c.want(c.DeleteWebhook(c.ctx, first.ID, resumed.Version, c.now), store.ErrNotFound)
	_, err = c.ChangeWebhook(c.ctx, c.changed(resumed), store.EventWebhookUpdated)
	c.want(err, store.ErrNotFound)
	c.want(c.SetFailing(c.ctx, first.ID, c.now), store.ErrNotFound)
	all, err = c.Webhooks(c.ctx)
	c.must(err)
	c.same("webhooks", all, []store.Webhook{second})
}

func testWebhookEvents(t *testing.T, open Opener) {
	c := newClient(t, open)
	c.open("r")
	w, err := c.CreateWebhook(c.ctx, c.webhook(), maxWebhooks)
	c.must(err)
	want := []store.Event{{Type: store.EventWebhookCreated}}
	paused := w
	paused.PausedAt, paused.PauseReason, paused.PauseMessage = c.now, "gone", "410"
	for _, step := range []struct {
		to   store.Webhook
		kind string
	}{{w, store.EventWebhookUpdated}, {paused, store.EventWebhookPaused}, {w, store.EventWebhookResumed}} {
		c.pass(time.Minute)
		step.to.Version = w.Version
		w, err = c.ChangeWebhook(c.ctx, c.changed(step.to), step.kind)
		c.must(err)
		want = append(want, store.Event{Type: step.kind})
	}
	c.pass(time.Minute)
	c.must(c.DeleteWebhook(c.ctx, w.ID, w.Version, c.now))
	want = append(want, store.Event{Type: store.EventWebhookDeleted})
	subject := store.WebhookSubject(w.ID)
	got := c.events(store.EventQuery{Subject: subject})
	if len(got) != len(want) {
		t.Fatalf("%d events instead of %d", len(got), len(want))
	}
	for i := range want {
		number := int64(i + 1)
		data := store.WebhookEvent{Webhook: w.ID, Version: number}
		if want[i].Type == store.EventWebhookPaused {
			data.Reason, data.Message = "gone", "410"
		}
		c.same("an event", got[i], store.Event{
			ID: fmt.Sprintf("%s/%d", subject, number), Cursor: got[i].Cursor, Type: want[i].Type, Subject: subject, Number: number,
			Namespace: "team-a", At: start.Add(time.Duration(i) * time.Minute), Data: []byte(text(data)),
		})
	}
	if all := c.events(store.EventQuery{Types: []string{"region.*", "webhook.*"}}); len(all) != len(want)+1 {
		t.Errorf("%d events of regions and webhooks instead of %d", len(all), len(want)+1)
	}
	removed, err := c.PruneRegionEvents(c.ctx, c.now.Add(1), 100)
	c.must(err)
	if removed != len(want)+1 {
		t.Errorf("%d events were removed instead of %d", removed, len(want)+1)
	}
}

// testUndispatched deletes a job whose events somebody waits for.
func testUndispatched(t *testing.T, open Opener) {
	c := newClient(t, open)
	remove := func(j job.Job) error {
		t.Helper()
		errs, err := c.Delete(c.ctx, []job.ID{j.ID}, c.now, 0)
		c.must(err)
		return errs[0]
	}
	ended := func() job.Job { return c.apply(c.submit(), place("r"), claim, cancel, stopped) }
	c.must(remove(ended()))
	before := ended()
	w := c.listen()
	c.must(remove(before))

	later := ended()
	events := c.events(store.EventQuery{Subject: store.JobSubject(later.ID)})
	if err := remove(later); err != nil {
		c.want(err, store.ErrUndispatched)
		c.stored(later.ID)
	} else {
		c.same("the events of a deleted job", c.events(store.EventQuery{After: w.After}), events)
	}
	cursor, err := c.OutboxCursor(c.ctx)
	c.must(err)
	c.must(c.Dispatch(c.ctx, cursor, c.lastEvent(), nil))
	if _, err := c.Job(c.ctx, later.ID); err == nil {
		c.must(remove(later))
	}

	later = ended()
	paused := c.changed(w)
	paused.PausedAt = c.now
	_, err = c.ChangeWebhook(c.ctx, paused, store.EventWebhookPaused)
	c.must(err)
	c.must(remove(later))
}
