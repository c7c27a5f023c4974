package sqlite

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gco-project/gco/internal/store"
)

var (
	stOutbox         = statement(`SELECT value FROM meta WHERE name = 'outbox'`)
	stMoveOutbox     = statement(`UPDATE meta SET value = ? WHERE name = 'outbox'`)
	stListening      = statement(`SELECT count(listens_after), coalesce(min(listens_after), 0) FROM webhooks`)
	stWebhookSeq     = statement(`SELECT seq FROM webhooks WHERE id = ? AND deleted = 0`)
	stInsertDelivery = statement(`INSERT INTO deliveries (webhook, cursor, subject, state, due_at, head_at, record)
		VALUES (?1, ?2, ?3, 'open', ?4, CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE webhook = ?1 AND subject = ?3 AND state = 'open') THEN NULL ELSE ?4 END, ?5)
		ON CONFLICT DO NOTHING RETURNING seq`)
	stInsertBody = statement(`INSERT INTO delivery_bodies (delivery, body) VALUES (?, ?)`)
	stBacklog    = statement(`INSERT INTO backlogs (webhook, open) VALUES (?, ?) ON CONFLICT DO UPDATE SET open = open + excluded.open`)
	stBacklogs   = statement(`SELECT w.id, b.open FROM backlogs b JOIN webhooks w ON w.seq = b.webhook WHERE w.deleted = 0 AND b.open > 0 ORDER BY w.id`)
	stReopen     = statement(`UPDATE deliveries SET state = 'open', claim = '', due_at = ?, settled_at = NULL, record = ? WHERE seq = ?`)
	stLaneHead   = statement(`SELECT seq, due_at FROM deliveries WHERE webhook = ? AND subject = ? AND state = 'open' ORDER BY cursor LIMIT 1`)
	stSetHead    = statement(`UPDATE deliveries SET head_at = ? WHERE seq = ?`)
	stUnsetHeads = statement(`UPDATE deliveries SET head_at = NULL WHERE webhook = ? AND subject = ? AND state = 'open' AND head_at IS NOT NULL AND seq <> ?`)
	stAnyDue     = statement(`SELECT 1 FROM deliveries WHERE webhook = (SELECT seq FROM webhooks WHERE id = ? AND deleted = 0) AND head_at <= ? LIMIT 1`)
	stClaimDue   = statement(`UPDATE deliveries SET claim = ?, due_at = ?, head_at = ? WHERE seq IN
		(SELECT seq FROM deliveries WHERE webhook = ? AND head_at <= ? ORDER BY head_at LIMIT ?)
		RETURNING ` + deliveryColumns + `, (SELECT body FROM delivery_bodies WHERE delivery = deliveries.seq)`)
	stSettle = statement(`UPDATE deliveries SET state = ?, claim = '', due_at = ?, head_at = NULL, settled_at = ?, record = ? WHERE seq = ?`)
)

// OutboxCursor is the cursor up to which events have been dispatched.
func (s *Store) OutboxCursor(ctx context.Context) (cursor int64, err error) {
	err = s.read(ctx, "the outbox", func(r *session) error {
		_, err := r.row(stOutbox, nil, &cursor)
		return err
	})
	return cursor, err
}

// dispatched is the cursor up to which events may go: those that somebody
// listens to have been dispatched.
func (t *tx) dispatched() (int64, error) {
	var cursor, listening, least int64
	if _, err := t.row(stListening, nil, &listening, &least); err != nil {
		return 0, err
	}
	if listening == 0 {
		return math.MaxInt64, nil
	}
	_, err := t.row(stOutbox, nil, &cursor)
	return max(cursor, least), err
}

// lane is the open deliveries of one webhook about one subject.
type lane struct {
	webhook int64
	subject string
}

// outboxTurn is what one operation on the outbox has to remember to its end.
type outboxTurn struct {
	*tx
	webhooks map[string]int64
	backlogs map[int64]int64
}

func (t *tx) outbox() *outboxTurn {
	return &outboxTurn{tx: t, webhooks: map[string]int64{}, backlogs: map[int64]int64{}}
}

// webhook returns the number of a webhook; 0 if there is no such.
func (o *outboxTurn) webhook(id string) (int64, error) {
	seq, ok := o.webhooks[id]
	if ok {
		return seq, nil
	}
	_, err := o.row(stWebhookSeq, []any{id}, &seq)
	o.webhooks[id] = seq
	return seq, err
}

// end writes the counters.
func (o *outboxTurn) end() error {
	for _, webhook := range sorted(o.backlogs, cmp.Compare) {
		if n := o.backlogs[webhook]; n != 0 {
			if _, err := o.exec(stBacklog, webhook, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// Dispatch adds deliveries and moves the cursor.
func (s *Store) Dispatch(ctx context.Context, from, to int64, deliveries []store.Delivery) error {
	encoded, err := encodeDeliveries(deliveries)
	if err != nil {
		return err
	}
	err = s.writer.do(ctx, func(t *tx) error {
		var cursor int64
		if _, err := t.row(stOutbox, nil, &cursor); err != nil {
			return err
		}
		if cursor != from {
			return fmt.Errorf("%w: the outbox is at %d, not at %d", store.ErrConflict, cursor, from)
		}
		o := t.outbox()
		for i := range encoded {
			if _, err := o.insert(&encoded[i]); err != nil {
				return err
			}
		}
		if _, err := t.exec(stMoveOutbox, to); err != nil {
			return err
		}
		return o.end()
	})
	return wrap(err, "dispatching events %d to %d", from+1, to)
}

// insert adds an open delivery; false if it exists, or its webhook does not.
func (o *outboxTurn) insert(d *deliveryRow) (bool, error) {
	webhook, err := o.webhook(d.Webhook)
	if err != nil || webhook == 0 {
		return false, err
	}
	var seq int64
	found, err := o.row(stInsertDelivery, []any{webhook, d.Cursor, d.Subject, instant(d.OpenedAt), d.record}, &seq)
	if err != nil || !found {
		return false, err
	}
	o.backlogs[webhook]++
	_, err = o.exec(stInsertBody, seq, d.Body)
	return true, err
}

// Redeliver adds deliveries, or opens them again.
func (s *Store) Redeliver(ctx context.Context, deliveries []store.Delivery, states []store.DeliveryState) (int, error) {
	encoded, err := encodeDeliveries(deliveries)
	if err != nil {
		return 0, err
	}
	opened := 0
	err = s.writer.do(ctx, func(t *tx) error {
		opened = 0
		o := t.outbox()
		for i := range encoded {
			did, err := o.redeliver(&encoded[i], states)
			if err != nil {
				return err
			}
			if did {
				opened++
			}
		}
		return o.end()
	})
	return opened, wrap(err, "opening deliveries again")
}

// redeliver opens one delivery, and gives its lane the right head: it may come
// before those that are open.
func (o *outboxTurn) redeliver(d *deliveryRow, states []store.DeliveryState) (bool, error) {
	webhook, err := o.webhook(d.Webhook)
	if err != nil || webhook == 0 {
		return false, err
	}
	did := false
	if len(d.Body) > 0 {
		if did, err = o.insert(d); err != nil {
			return false, err
		}
	}
	if !did {
		stored, err := o.delivery(webhook, d.Cursor)
		if isDecision(err) {
			return false, nil
		}
		if err != nil || stored.State == store.DeliveryOpen || !slices.Contains(states, stored.State) {
			return false, err
		}
		stored.Reopen(d.OpenedAt)
		if err := stored.encode(); err != nil {
			return false, err
		}
		if _, err := o.exec(stReopen, instant(stored.DueAt), stored.record, stored.seq); err != nil {
			return false, err
		}
		o.backlogs[webhook]++
	}
	first, err := o.advance(lane{webhook, d.Subject})
	if err == nil {
		_, err = o.exec(stUnsetHeads, webhook, d.Subject, first)
	}
	return true, err
}

// advance makes the first open delivery of a lane its head, and returns it.
func (o *outboxTurn) advance(l lane) (first int64, err error) {
	var due any
	found, err := o.row(stLaneHead, []any{l.webhook, l.subject}, &first, &due)
	if err != nil || !found {
		return 0, err
	}
	_, err = o.exec(stSetHead, due, first)
	return first, err
}

// maxClaim bounds the deliveries of one claim.
const maxClaim = 1000

// ClaimDeliveries claims due deliveries that are the first of their lane.
func (s *Store) ClaimDeliveries(ctx context.Context, claim store.DeliveryClaim) ([]store.Delivery, error) {
	// Most calls find nothing: those should not trouble the writer.
	var due []string
	err := s.read(ctx, "deliveries that are due", func(r *session) error {
		for _, webhook := range sorted(claim.Room, cmp.Compare) {
			var one int
			found, err := r.row(stAnyDue, []any{webhook, instant(claim.Now)}, &one)
			if err != nil {
				return err
			}
			if found && claim.Room[webhook] > 0 {
				due = append(due, webhook)
			}
		}
		return nil
	})
	if err != nil || len(due) == 0 {
		return nil, err
	}
	var all []store.Delivery
	err = s.writer.do(ctx, func(t *tx) error {
		all = nil
		o := t.outbox()
		for _, webhook := range due {
			claimed, err := o.claim(webhook, min(claim.Room[webhook], maxClaim-len(all)), claim)
			if err != nil {
				return err
			}
			all = append(all, claimed...)
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "claiming deliveries")
	}
	return all, nil
}

func (o *outboxTurn) claim(webhook string, room int, claim store.DeliveryClaim) ([]store.Delivery, error) {
	seq, err := o.webhook(webhook)
	if err != nil || seq == 0 || room <= 0 {
		return nil, err
	}
	var rows []deliveryRow
	until := instant(claim.Until)
	err = o.each(stClaimDue, []any{claim.Name, until, until, seq, instant(claim.Now), room}, func(scan func(...any) error) error {
		d := deliveryRow{Delivery: store.Delivery{Webhook: webhook}}
		err := d.scan(scan, &d.Body)
		rows = append(rows, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return inOrder(rows), nil
}

// SettleDeliveries settles each delivery by itself.
func (s *Store) SettleDeliveries(ctx context.Context, settlements []store.Settlement) ([]error, error) {
	settlements = slices.Clone(settlements)
	var errs []error
	err := s.writer.do(ctx, func(t *tx) error {
		results := make([]error, len(settlements))
		o := t.outbox()
		for i := range settlements {
			err := o.settle(&settlements[i])
			if err != nil && !isDecision(err) {
				return err
			}
			results[i] = wrap(err, "settling delivery %d of webhook %s", settlements[i].Cursor, settlements[i].Webhook)
		}
		errs = results
		return o.end()
	})
	if err != nil {
		return nil, wrap(err, "settling deliveries")
	}
	return errs, nil
}

// settle settles one delivery, or decides not to.
func (o *outboxTurn) settle(s *store.Settlement) error {
	webhook, err := o.webhook(s.Webhook)
	if err != nil {
		return err
	}
	d, err := o.delivery(webhook, s.Cursor)
	if err != nil {
		return err
	}
	if d.State != store.DeliveryOpen || d.Claim != s.Claim {
		return fmt.Errorf("%w: it is %s, claimed by %q", store.ErrConflict, d.State, d.Claim)
	}
	d.Settle(s)
	if err := d.encode(); err != nil {
		return err
	}
	if _, err := o.exec(stSettle, string(d.State), instant(d.DueAt), instant(d.SettledAt), d.record, d.seq); err != nil {
		return err
	}
	if d.State != store.DeliveryOpen {
		o.backlogs[webhook]--
	}
	_, err = o.advance(lane{webhook, d.Subject})
	return err
}

// Backlogs reads the counters of open deliveries.
func (s *Store) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	var all []store.Backlog
	err := s.read(ctx, "backlogs", func(r *session) error {
		return r.each(stBacklogs, nil, func(scan func(...any) error) error {
			var b store.Backlog
			err := scan(&b.Webhook, &b.Open)
			all = append(all, b)
			return err
		})
	})
	return all, err
}
