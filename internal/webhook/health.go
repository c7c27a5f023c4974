package webhook

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/store"
)

const (
	// failuresInRow are needed, one after the other, before a webhook counts as
	// one that only fails.
	failuresInRow = 5
	// recordAfter is how long it has to fail before that is written down: a
	// receiver that fails now and then costs no write.
	recordAfter = 10 * time.Second
)

// The reasons of a pause.
const (
	// PausedByUser: somebody asked for it.
	PausedByUser = "user"
	// PausedFailing: every try has failed for as long as the settings allow.
	PausedFailing = "failing"
	// PausedGone: the receiver answered 410.
	PausedGone = "gone"
	// PausedBacklog: too many deliveries were open.
	PausedBacklog = "backlog"
)

// health watches over webhooks: since when one fails, and when it has failed
// for too long. Since when is in the store, so that a restart does not forgive
// it; the rest is each server's own observation.
type health struct {
	o     *Outbox
	mutex sync.Mutex
	of    map[string]*pulse
}

// pulse is what was seen of one webhook.
type pulse struct {
	// since is the first failure after the last success; zero if there is none.
	since time.Time
	// recorded says that the store knows of since.
	recorded bool
	failures int
}

func newHealth(o *Outbox) *health { return &health{o: o, of: map[string]*pulse{}} }

// know takes over what the store knows of a webhook.
func (h *health) know(w store.Webhook) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	p := &pulse{since: w.FailingSince, recorded: !w.FailingSince.IsZero()}
	if p.recorded {
		p.failures = failuresInRow
	}
	h.of[w.ID] = p
}

func (h *health) forget(id string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	delete(h.of, id)
}

// failing tells whether a webhook only fails.
func (h *health) failing(id string) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	p := h.of[id]
	return p != nil && p.failures >= failuresInRow
}

// tried takes note of a try.
func (h *health) tried(ctx context.Context, id string, out outcome) {
	since, changed, pause := h.observe(id, out)
	if changed {
		if err := h.o.Store.SetFailing(ctx, id, since); err != nil && !errors.Is(err, store.ErrNotFound) {
			h.o.Log.Error("recording since when a webhook fails", "webhook", id, "error", err)
		}
	}
	var err error
	switch {
	case out.gone:
		err = h.o.pause(ctx, id, PausedGone, "the receiver answered 410: it wants no more")
	case pause:
		err = h.o.pause(ctx, id, PausedFailing, fmt.Sprintf("every try has failed since %s", since.UTC().Format(time.RFC3339)))
	}
	if err != nil {
		h.o.Log.Error("pausing a webhook", "webhook", id, "error", err)
	}
}

// observe notes a try; changed says that since is to be recorded.
func (h *health) observe(id string, out outcome) (since time.Time, changed, pause bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	p := h.of[id]
	if p == nil {
		return time.Time{}, false, false
	}
	if out.done {
		changed = p.recorded
		*p = pulse{}
		return time.Time{}, changed, false
	}
	now := h.o.Clock.Now()
	if p.since.IsZero() {
		p.since = now
	}
	p.failures++
	failing := now.Sub(p.since)
	if !p.recorded && failing >= recordAfter {
		p.recorded, changed = true, true
	}
	return p.since, changed, failing >= h.o.Settings.PauseAfter
}

// reset forgets the failures of a webhook that goes on.
func (h *health) reset(id string) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if p := h.of[id]; p != nil {
		*p = pulse{}
	}
}
