package webhook

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/store"
)

const (
	// eventPage is how many events are looked at in one round.
	eventPage = 500
	// dispatchPage bounds the deliveries of one write: others wait behind it.
	dispatchPage = 200
	// linger is how long to wait for more after the first event.
	linger = 5 * time.Millisecond
)

// dispatcher turns events into deliveries. Its cursor is in the store, and
// moves in one step with the deliveries of the events that it passes, so that
// a crash at any moment loses none and repeats none.
type dispatcher struct {
	o *Outbox
	// passed is the cursor up to which nothing was to be delivered, although
	// that is not written yet.
	passed int64
	// listening says that there are webhooks which are not paused.
	listening bool
	woken     chan struct{}
}

// wake says that there may be events that Watch does not tell of.
func (d *dispatcher) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

func (d *dispatcher) run(ctx context.Context) error {
	changed, stop := d.o.Watch()
	defer stop()
	ticker := d.o.Clock.NewTicker(tick)
	defer ticker.Stop()
	for write := true; ; {
		for more := d.o.Leading(); more && ctx.Err() == nil; {
			var err error
			if more, err = d.runOnce(ctx, write); err != nil && ctx.Err() == nil {
				d.o.Log.Error("dispatching events to webhooks", "error", err)
			}
		}
		// Without webhooks it is enough to look at a tick: no event is passed.
		signals := changed
		if !d.listening {
			signals = nil
		}
		write = false
		select {
		case <-signals:
			d.linger(ctx)
		case <-d.woken:
		case <-ticker.C():
			write = true
		case <-ctx.Done():
			return nil
		}
	}
}

// linger lets a few more events come, which then share a read and a write.
func (d *dispatcher) linger(ctx context.Context) {
	timer := d.o.Clock.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-ctx.Done():
	}
}

// runOnce passes one page of events, and tells whether there may be another.
// Where nothing is to be delivered it moves the cursor only if write is set:
// that is once a tick, and never while nobody listens.
func (d *dispatcher) runOnce(ctx context.Context, write bool) (more bool, err error) {
	hooks, err := d.listeners(ctx)
	if err != nil {
		return false, err
	}
	if d.listening = len(hooks) > 0; !d.listening {
		return false, nil
	}
	cursor, err := d.o.Store.OutboxCursor(ctx)
	if err != nil {
		return false, fmt.Errorf("reading the outbox: %w", err)
	}
	// What came before the first of them is nobody's.
	after := max(cursor, d.passed, slices.MinFunc(hooks, func(a, b store.Webhook) int { return cmp.Compare(a.After, b.After) }).After)
	events, next, err := d.o.Store.Events(ctx, store.EventQuery{After: after, Limit: eventPage})
	if err != nil {
		return false, fmt.Errorf("reading events: %w", err)
	}
	// Who began to listen before one of these events happened is on the list
	// now, and may not have been when it was read first.
	if hooks, err = d.listeners(ctx); err != nil {
		return false, err
	}
	var batch []store.Delivery
	for i := range events {
		batch = append(batch, d.deliveries(hooks, &events[i])...)
	}
	if len(batch) > 0 || (write && next > cursor) || next-cursor > eventPage {
		err = d.dispatch(ctx, cursor, next, batch)
	}
	if err != nil {
		return false, err
	}
	d.passed = next
	return next > after, nil
}

// listeners lists the webhooks that are not paused.
func (d *dispatcher) listeners(ctx context.Context) ([]store.Webhook, error) {
	hooks, err := d.o.Store.Webhooks(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing webhooks: %w", err)
	}
	return slices.DeleteFunc(hooks, func(w store.Webhook) bool { return w.Paused() }), nil
}

// dispatch writes deliveries in several steps if they are many. Each step
// passes the events whose deliveries are all written.
func (d *dispatcher) dispatch(ctx context.Context, from, to int64, batch []store.Delivery) error {
	for begin := 0; ; {
		end := min(begin+dispatchPage, len(batch))
		step := to
		if end < len(batch) {
			step = max(from, batch[end].Cursor-1)
		}
		if err := d.o.Store.Dispatch(ctx, from, step, batch[begin:end]); err != nil {
			return fmt.Errorf("writing deliveries: %w", err)
		}
		d.o.deliverer.due(batch[begin:end])
		if end == len(batch) {
			return nil
		}
		from, begin = step, end
	}
}

// deliveries makes a delivery for each webhook that wants the event.
func (d *dispatcher) deliveries(hooks []store.Webhook, e *store.Event) []store.Delivery {
	var all []store.Delivery
	var body []byte
	for i := range hooks {
		if !wants(&hooks[i], e) {
			continue
		}
		if body == nil {
			var err error
			if body, err = d.o.Encode(*e); err != nil {
				// It would stand in the way of all others for ever.
				d.o.Log.Error("an event cannot be delivered", "event", e.ID, "error", err)
				return nil
			}
		}
		all = append(all, newDelivery(&hooks[i], e, body, d.o.Clock.Now()))
	}
	return all
}

func newDelivery(w *store.Webhook, e *store.Event, body []byte, now time.Time) store.Delivery {
	return store.Delivery{
		Webhook: w.ID, Cursor: e.Cursor, EventID: e.ID, Type: e.Type, Subject: e.Subject, At: e.At,
		State: store.DeliveryOpen, DueAt: now.UTC(), OpenedAt: now.UTC(), Body: body,
	}
}
