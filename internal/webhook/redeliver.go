package webhook

import (
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/gco-project/gco/internal/store"
)

// RedeliverRequest says which deliveries are to be made again.
type RedeliverRequest struct {
	// Cursors name deliveries, whatever became of them. Where there are none,
	// Since and Until (zero: now) bound the time of the events.
	Cursors []int64
	Since   time.Time
	Until   time.Time
	// All is for deliveries that were done, too; without it, a range is for
	// those that are dead, and for events that the webhook was never told of,
	// because it was paused or did not exist.
	All bool
	// After continues a range.
	After int64
}

// redeliverPage is how many events one call looks at.
const redeliverPage = 500

// Redeliver makes deliveries again, and returns how many, and where a range
// goes on (0: it is through). A delivery that is open already is left alone,
// and those of one subject are made in their order.
func (o *Outbox) Redeliver(ctx context.Context, id string, r RedeliverRequest) (count int, next int64, err error) {
	w, err := o.Store.Webhook(ctx, id)
	if err != nil {
		return 0, 0, err
	}
	var batch []store.Delivery
	if len(r.Cursors) > 0 {
		batch, err = o.named(ctx, id, r.Cursors)
	} else {
		batch, next, err = o.ranged(ctx, &w, r)
	}
	if err != nil {
		return 0, 0, err
	}
	states := []store.DeliveryState{store.DeliveryDead}
	if r.All || len(r.Cursors) > 0 {
		states = append(states, store.DeliveryDone)
	}
	for begin := 0; begin < len(batch); begin += dispatchPage {
		page := batch[begin:min(begin+dispatchPage, len(batch))]
		n, err := o.Store.Redeliver(ctx, page, states)
		if err != nil {
			return count, 0, err
		}
		count += n
		o.deliverer.due(page)
	}
	return count, next, nil
}

// named reads deliveries by their cursors.
func (o *Outbox) named(ctx context.Context, id string, cursors []int64) ([]store.Delivery, error) {
	var batch []store.Delivery
	for _, cursor := range cursors {
		d, err := o.Store.Delivery(ctx, id, cursor)
		if err != nil {
			return nil, fmt.Errorf("reading delivery %d: %w", cursor, err)
		}
		d.OpenedAt = o.Clock.Now().UTC()
		batch = append(batch, d)
	}
	return batch, nil
}

// ranged makes a delivery of each event of a range that the webhook selects.
// It goes by the stream, which has the events for as long as their jobs, and
// by the deliveries that are kept of jobs that are gone.
func (o *Outbox) ranged(ctx context.Context, w *store.Webhook, r RedeliverRequest) ([]store.Delivery, int64, error) {
	if r.Until.IsZero() {
		r.Until = o.Clock.Now()
	}
	dispatched, err := o.Store.OutboxCursor(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the outbox: %w", err)
	}
	after := r.After
	var batch []store.Delivery
	if after == 0 {
		if after, err = o.seek(ctx, r.Since, dispatched); err != nil {
			return nil, 0, err
		}
		if batch, err = o.kept(ctx, w, r); err != nil {
			return nil, 0, err
		}
	}
	events, next, err := o.Store.Events(ctx, store.EventQuery{After: after, Limit: redeliverPage})
	if err != nil {
		return nil, 0, fmt.Errorf("reading events: %w", err)
	}
	for i := range events {
		e := &events[i]
		// What has not been dispatched yet will be.
		if e.Cursor > dispatched || e.At.After(r.Until) {
			return batch, 0, nil
		}
		if e.At.Before(r.Since) || !selects(w, e) {
			continue
		}
		body, err := o.Encode(*e)
		if err != nil {
			return nil, 0, fmt.Errorf("encoding event %s: %w", e.ID, err)
		}
		batch = append(batch, newDelivery(w, e, body, o.Clock.Now()))
	}
	if next <= after {
		next = 0
	}
	return batch, next, nil
}

// seek finds a cursor before the events since a time. Events are in the order
// of their commits, and so nearly in that of their times: it stays on the safe
// side by a minute.
func (o *Outbox) seek(ctx context.Context, since time.Time, last int64) (int64, error) {
	since = since.Add(-time.Minute)
	var failed error
	found := sort.Search(int(last), func(cursor int) bool {
		if failed != nil {
			return true
		}
		events, _, err := o.Store.Events(ctx, store.EventQuery{After: int64(cursor), Limit: 1})
		if err != nil {
			failed = fmt.Errorf("looking for the first event: %w", err)
		}
		return len(events) == 0 || !events[0].At.Before(since)
	})
	return int64(found), failed
}

// kept lists the dead deliveries of a range whose events may be gone from the
// stream.
func (o *Outbox) kept(ctx context.Context, w *store.Webhook, r RedeliverRequest) ([]store.Delivery, error) {
	var batch []store.Delivery
	query := store.DeliveryQuery{Webhook: w.ID, State: store.DeliveryDead, Limit: redeliverPage}
	for {
		page, err := o.Store.Deliveries(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("listing deliveries: %w", err)
		}
		for _, d := range page.Deliveries {
			if d.At.Before(r.Since) || d.At.After(r.Until) {
				continue
			}
			d.OpenedAt = o.Clock.Now().UTC()
			batch = append(batch, d)
		}
		if query.Before = page.Next; !page.More {
			return batch, nil
		}
	}
}
