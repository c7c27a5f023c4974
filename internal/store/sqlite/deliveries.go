package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/store"
)

// deliveryColumns are what deliveryRow.scan reads, in its order.
const deliveryColumns = `deliveries.seq, cursor, subject, state, claim, due_at, settled_at, record`

var (
	stDelivery   = statement(`SELECT ` + deliveryColumns + ` FROM deliveries WHERE webhook = ? AND cursor = ?`)
	stBody       = statement(`SELECT body FROM delivery_bodies WHERE delivery = ?`)
	stDeliveries = statement(`SELECT ` + deliveryColumns + ` FROM deliveries WHERE webhook = ? AND cursor < ? ORDER BY cursor DESC LIMIT ?`)
)

// deliveryRow is a delivery as it is stored: record holds what has no column.
type deliveryRow struct {
	store.Delivery
	seq    int64
	record string
}

// deliveryRecord is the JSON of the column record.
type deliveryRecord struct {
	EventID  string      `json:"eventId"`
	Type     string      `json:"type"`
	At       time.Time   `json:"at"`
	OpenedAt time.Time   `json:"openedAt"`
	Reason   string      `json:"reason,omitempty"`
	Attempts int         `json:"attempts,omitempty"`
	Tries    []store.Try `json:"tries,omitempty"`
}

func (d *deliveryRow) encode() error {
	record, err := json.Marshal(deliveryRecord{
		EventID: d.EventID, Type: d.Type, At: d.At, OpenedAt: d.OpenedAt, Reason: d.Reason, Attempts: d.Attempts, Tries: d.Tries,
	})
	d.record = string(record)
	return wrap(err, "encoding delivery %d of webhook %s", d.Cursor, d.Webhook)
}

func encodeDeliveries(deliveries []store.Delivery) ([]deliveryRow, error) {
	rows := make([]deliveryRow, len(deliveries))
	for i, d := range deliveries {
		rows[i].Delivery = d
		rows[i].Reason, rows[i].Attempts, rows[i].Tries = "", 0, nil
		if err := rows[i].encode(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// scan reads a row that begins with deliveryColumns.
func (d *deliveryRow) scan(scan func(...any) error, more ...any) error {
	var due, settled any
	into := []any{&d.seq, &d.Cursor, &d.Subject, &d.State, &d.Claim, &due, &settled, &d.record}
	if err := scan(append(into, more...)...); err != nil {
		return err
	}
	var r deliveryRecord
	if err := json.Unmarshal([]byte(d.record), &r); err != nil {
		return err
	}
	d.EventID, d.Type, d.At, d.OpenedAt = r.EventID, r.Type, r.At, r.OpenedAt
	d.Reason, d.Attempts, d.Tries = r.Reason, r.Attempts, r.Tries
	d.SettledAt = instantOf(settled)
	if d.State == store.DeliveryOpen {
		d.DueAt = instantOf(due)
	}
	return nil
}

// inOrder returns the deliveries of rows in the order of their cursors.
func inOrder(rows []deliveryRow) []store.Delivery {
	all := make([]store.Delivery, len(rows))
	for i := range rows {
		all[i] = rows[i].Delivery
	}
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(a.Cursor, b.Cursor) })
	return all
}

// delivery reads one delivery, without its body and the webhook's ID.
func (s *session) delivery(webhook, cursor int64) (*deliveryRow, error) {
	d := &deliveryRow{}
	found := false
	err := s.each(stDelivery, []any{webhook, cursor}, func(scan func(...any) error) error {
		found = true
		return d.scan(scan)
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return d, err
}

// Delivery returns one delivery with its body.
func (s *Store) Delivery(ctx context.Context, webhook string, cursor int64) (store.Delivery, error) {
	var d *deliveryRow
	err := s.read(ctx, "a delivery", func(r *session) error {
		row, err := r.webhook(webhook)
		if err != nil {
			return err
		}
		if d, err = r.delivery(row.seq, cursor); err != nil {
			return err
		}
		d.Webhook = webhook
		_, err = r.row(stBody, []any{d.seq}, &d.Body)
		return err
	})
	if err != nil {
		return store.Delivery{}, err
	}
	return d.Delivery, nil
}

// Deliveries lists deliveries of one webhook, newest first.
func (s *Store) Deliveries(ctx context.Context, query store.DeliveryQuery) (store.DeliveryPage, error) {
	var page store.DeliveryPage
	err := s.read(ctx, "deliveries", func(r *session) (err error) {
		page, err = r.deliveries(query)
		return err
	})
	return page, err
}

func (s *session) deliveries(query store.DeliveryQuery) (store.DeliveryPage, error) {
	var page store.DeliveryPage
	webhook, err := s.webhook(query.Webhook)
	if err != nil || query.Limit <= 0 {
		return page, err
	}
	limit := maxRead
	if query.State == "" && query.Subject == "" {
		limit = min(maxRead, query.Limit+1)
	}
	read := 0
	before := cmp.Or(query.Before, math.MaxInt64)
	err = s.each(stDeliveries, []any{webhook.seq, before, limit}, func(scan func(...any) error) error {
		if len(page.Deliveries) == query.Limit {
			page.More = true
			return nil
		}
		d := deliveryRow{Delivery: store.Delivery{Webhook: query.Webhook}}
		if err := d.scan(scan); err != nil {
			return err
		}
		read++
		page.Next, page.More = d.Cursor, read == maxRead
		if (query.State == "" || query.State == d.State) && (query.Subject == "" || query.Subject == d.Subject) {
			page.Deliveries = append(page.Deliveries, d.Delivery)
		}
		return nil
	})
	if !page.More {
		page.Next = 0
	}
	return page, err
}

var (
	stOldDeliveries    = statement(`SELECT seq FROM deliveries WHERE settled_at < ? ORDER BY settled_at LIMIT ?`)
	stDeletedWebhooks  = statement(`SELECT seq FROM webhooks WHERE deleted = 1`)
	stLeftDeliveries   = statement(`SELECT seq FROM deliveries WHERE webhook = ? LIMIT ?`)
	stDropDelivery     = statement(`DELETE FROM deliveries WHERE seq = ?`)
	stDropDeliveryBody = statement(`DELETE FROM delivery_bodies WHERE delivery = ?`)
	stDropBacklog      = statement(`DELETE FROM backlogs WHERE webhook = ?`)
	stDropWebhook      = statement(`DELETE FROM webhooks WHERE seq = ?`)
)

// PruneDeliveries removes old deliveries, and those of deleted webhooks.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	removed := 0
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.dropDeliveries(stOldDeliveries, instant(before), limit)
		removed = n
		if err != nil || removed == limit {
			return err
		}
		gone, err := t.numbers(stDeletedWebhooks)
		if err != nil {
			return err
		}
		for _, webhook := range gone {
			n, err := t.dropDeliveries(stLeftDeliveries, webhook, limit-removed)
			if removed += n; err != nil || removed == limit {
				return err
			}
			for _, drop := range []stmt{stDropBacklog, stDropWebhook} {
				if _, err := t.exec(drop, webhook); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, wrap(err, "removing old deliveries")
	}
	return removed, nil
}

// dropDeliveries removes the deliveries that a statement selects.
func (t *tx) dropDeliveries(which stmt, args ...any) (int, error) {
	doomed, err := t.numbers(which, args...)
	if err != nil {
		return 0, err
	}
	for _, seq := range doomed {
		for _, drop := range []stmt{stDropDeliveryBody, stDropDelivery} {
			if _, err := t.exec(drop, seq); err != nil {
				return 0, err
			}
		}
	}
	return len(doomed), nil
}

// numbers runs a statement that selects one number a row.
func (s *session) numbers(id stmt, args ...any) (all []int64, err error) {
	err = s.each(id, args, func(scan func(...any) error) error {
		var n int64
		err := scan(&n)
		all = append(all, n)
		return err
	})
	return all, err
}
