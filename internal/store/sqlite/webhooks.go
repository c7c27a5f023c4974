package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/store"
)

const webhookColumns = `seq, record, failing_since`

var (
	stWebhook       = statement(`SELECT ` + webhookColumns + ` FROM webhooks WHERE id = ? AND deleted = 0`)
	stWebhooks      = statement(`SELECT ` + webhookColumns + ` FROM webhooks WHERE deleted = 0 ORDER BY id`)
	stWebhookCount  = statement(`SELECT count(*) FROM webhooks WHERE deleted = 0`)
	stInsertWebhook = statement(`INSERT INTO webhooks (id, version, record, listens_after) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	stPutWebhook    = statement(`UPDATE webhooks SET version = ?, record = ?, failing_since = ?, listens_after = ? WHERE seq = ?`)
	stFailing       = statement(`UPDATE webhooks SET failing_since = ? WHERE id = ? AND deleted = 0`)
	stEndWebhook    = statement(`UPDATE webhooks SET deleted = 1, listens_after = NULL WHERE seq = ?`)
)

// webhookRow is a webhook and its number in the other tables.
type webhookRow struct {
	store.Webhook
	seq int64
}

func (w *webhookRow) scan(scan func(...any) error) error {
	var record string
	var failing any
	if err := scan(&w.seq, &record, &failing); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(record), &w.Webhook); err != nil {
		return err
	}
	w.FailingSince = instantOf(failing)
	return nil
}

// listensAfter is the cursor from which on a webhook gets events; NULL for none.
func listensAfter(w *store.Webhook) any {
	if w.Paused() {
		return nil
	}
	return w.After
}

// webhook reads one webhook.
func (s *session) webhook(id string) (*webhookRow, error) {
	w := &webhookRow{}
	found := false
	err := s.each(stWebhook, []any{id}, func(scan func(...any) error) error {
		found = true
		return w.scan(scan)
	})
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return w, err
}

// announceWebhook writes the event of a webhook's version.
func (t *tx) announceWebhook(w *store.Webhook, eventType string, at time.Time) error {
	event := store.WebhookEvent{Webhook: w.ID, Version: w.Version}
	if eventType == store.EventWebhookPaused {
		event.Reason, event.Message = w.PauseReason, w.PauseMessage
	}
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	t.lastEvent++
	return t.events.add(t.session, t.lastEvent, store.WebhookSubject(w.ID), w.Version, eventType, w.Namespace, instant(at), string(data))
}

// CreateWebhook keeps a new webhook.
func (s *Store) CreateWebhook(ctx context.Context, webhook store.Webhook, limit int) (store.Webhook, error) {
	err := s.writer.do(ctx, func(t *tx) error {
		var count int
		if _, err := t.row(stWebhookCount, nil, &count); err != nil {
			return err
		}
		if count >= limit {
			return fmt.Errorf("%w: %d", store.ErrTooMany, count)
		}
		webhook.Version = 1
		// The newest event is the one that tells of it.
		webhook.After = t.lastEvent + 1
		record, err := json.Marshal(webhook)
		if err != nil {
			return err
		}
		n, err := t.exec(stInsertWebhook, webhook.ID, webhook.Version, string(record), listensAfter(&webhook))
		if err != nil {
			return err
		}
		if n == 0 {
			return store.ErrConflict
		}
		return t.announceWebhook(&webhook, store.EventWebhookCreated, webhook.CreatedAt)
	})
	if err != nil {
		return store.Webhook{}, wrap(err, "creating webhook %s", webhook.ID)
	}
	return webhook, nil
}

// Webhook returns one webhook.
func (s *Store) Webhook(ctx context.Context, id string) (store.Webhook, error) {
	var row *webhookRow
	err := s.read(ctx, "webhook "+id, func(r *session) (err error) {
		row, err = r.webhook(id)
		return err
	})
	if err != nil {
		return store.Webhook{}, err
	}
	return row.Webhook, nil
}

// Webhooks lists all, by ID.
func (s *Store) Webhooks(ctx context.Context) ([]store.Webhook, error) {
	var all []store.Webhook
	err := s.read(ctx, "webhooks", func(r *session) error {
		return r.each(stWebhooks, nil, func(scan func(...any) error) error {
			var row webhookRow
			err := row.scan(scan)
			all = append(all, row.Webhook)
			return err
		})
	})
	return all, err
}

// ChangeWebhook replaces a webhook, if it still has the version before.
func (s *Store) ChangeWebhook(ctx context.Context, webhook store.Webhook, eventType string) (store.Webhook, error) {
	err := s.writer.do(ctx, func(t *tx) error {
		row, err := t.webhook(webhook.ID)
		if err != nil {
			return err
		}
		if row.Version != webhook.Version-1 {
			return fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, row.Version, webhook.Version-1)
		}
		webhook.FailingSince = row.FailingSince
		if eventType == store.EventWebhookResumed {
			webhook.FailingSince, webhook.After = time.Time{}, t.lastEvent+1
		}
		record, err := json.Marshal(webhook)
		if err != nil {
			return err
		}
		if _, err := t.exec(stPutWebhook, webhook.Version, string(record), instant(webhook.FailingSince), listensAfter(&webhook), row.seq); err != nil {
			return err
		}
		return t.announceWebhook(&webhook, eventType, webhook.UpdatedAt)
	})
	if err != nil {
		return store.Webhook{}, wrap(err, "changing webhook %s", webhook.ID)
	}
	return webhook, nil
}

// DeleteWebhook removes a webhook that has this version.
func (s *Store) DeleteWebhook(ctx context.Context, id string, version int64, now time.Time) error {
	err := s.writer.do(ctx, func(t *tx) error {
		row, err := t.webhook(id)
		if err != nil {
			return err
		}
		if row.Version != version {
			return fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, row.Version, version)
		}
		if _, err := t.exec(stEndWebhook, row.seq); err != nil {
			return err
		}
		row.Version++
		return t.announceWebhook(&row.Webhook, store.EventWebhookDeleted, now)
	})
	return wrap(err, "deleting webhook %s", id)
}

// SetFailing records since when tries fail.
func (s *Store) SetFailing(ctx context.Context, id string, since time.Time) error {
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stFailing, instant(since), id)
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err
	})
	return wrap(err, "recording since when webhook %s fails", id)
}
