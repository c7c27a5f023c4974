package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/store"
)

// The key of table webhooks can't list them: table state names them all.
const (
	pkWebhooks = "webhooks"
	// pkGone names those that were deleted, until their deliveries are gone.
	pkGone = "webhooks-gone"

	attrFailing = "failing_since"
)

func webhookKey(id string) item { return item{attrWebhook: text(id)} }

// webhookRecord is a webhook as it is stored.
type webhookRecord struct {
	store.Webhook
	stamp stamp
}

func (s *Store) webhookItem(r *webhookRecord) (item, error) {
	w := r.Webhook
	w.FailingSince = time.Time{}
	body, err := packJSON(&w)
	i := with(webhookKey(w.ID), item{attrBody: body, attrStamp: text(string(r.stamp))})
	if w.Namespace != "" {
		i[attrNamespace] = text(w.Namespace)
	}
	if !r.FailingSince.IsZero() {
		i[attrFailing] = number(r.FailingSince.UnixNano())
	}
	return i, err
}

func webhookOf(i item) (*webhookRecord, error) {
	r := &webhookRecord{stamp: stamp(textOf(i, attrStamp))}
	err := unpackJSON(i, attrBody, &r.Webhook)
	if has(i, attrFailing) {
		r.FailingSince = time.Unix(0, numberOf(i, attrFailing)).UTC()
	}
	return r, wrap(err, "reading webhook %s", textOf(i, attrWebhook))
}

func (s *Store) webhook(ctx context.Context, id string) (*webhookRecord, error) {
	found, err := s.get(ctx, TableWebhooks, webhookKey(id))
	if err != nil {
		return nil, err
	}
	return webhookOf(found)
}

// webhookActions write the event of a webhook's version.
func (s *Store) webhookActions(w *store.Webhook, own stamp, eventType string, at time.Time) ([]types.TransactWriteItem, error) {
	event := store.WebhookEvent{Webhook: w.ID, Version: w.Version}
	if eventType == store.EventWebhookPaused {
		event.Reason, event.Message = w.PauseReason, w.PauseMessage
	}
	data, err := json.Marshal(event)
	e := entry{Stamp: own, Subject: store.WebhookSubject(w.ID), Number: w.Version, Type: eventType, Namespace: w.Namespace, At: at}
	return s.announceActions(&e, data), err
}

// CreateWebhook keeps a new webhook.
func (s *Store) CreateWebhook(ctx context.Context, webhook store.Webhook, limit int) (store.Webhook, error) {
	all, err := s.all(ctx, query{table: TableState, pk: pkWebhooks})
	switch {
	case err != nil:
	case slices.ContainsFunc(all, func(i item) bool { return textOf(i, attrSK) == webhook.ID }):
		err = store.ErrConflict
	case len(all) >= limit:
		err = fmt.Errorf("%w: %d", store.ErrTooMany, len(all))
	default:
		webhook.Version = 1
		webhook, err = s.writeWebhook(ctx, nil, webhook, store.EventWebhookCreated, webhook.CreatedAt)
	}
	if err != nil {
		return store.Webhook{}, wrap(err, "creating webhook %s", webhook.ID)
	}
	return webhook, nil
}

// writeWebhook writes a version over the one before; nil is none. What begins
// to listen does so at the event that tells of it, whose place in the log is
// known when it has one: until then it listens from the newest event on.
func (s *Store) writeWebhook(ctx context.Context, before *webhookRecord, webhook store.Webhook, eventType string, when time.Time) (store.Webhook, error) {
	begins := eventType == store.EventWebhookCreated || eventType == store.EventWebhookResumed
	if begins {
		last, err := s.LastEvent(ctx)
		if err != nil {
			return webhook, err
		}
		webhook.After = last
	}
	condition, values, was := "attribute_not_exists(webhook_id)", item(nil), stamp("")
	if before != nil {
		was = before.stamp
		condition, values = "stamp = :before", item{":before": text(string(was))}
	}
	after := &webhookRecord{Webhook: webhook, stamp: s.stamps.next(was)}
	i, err := s.webhookItem(after)
	if err != nil {
		return webhook, err
	}
	more, err := s.webhookActions(&webhook, after.stamp, eventType, when)
	if err != nil {
		return webhook, err
	}
	actions := append([]types.TransactWriteItem{s.putAction(TableWebhooks, i, condition, values)}, more...)
	if before == nil {
		actions = append(actions, s.putAction(TableState, at(pkWebhooks, webhook.ID), "", nil))
	}
	if err := s.transactOne(ctx, unit{actions: actions, refused: changedUnless(after.stamp)}); err != nil || !begins {
		return webhook, err
	}
	return s.listenFrom(ctx, after)
}

// listenFrom moves the beginning of a webhook on to the event of its version.
func (s *Store) listenFrom(ctx context.Context, r *webhookRecord) (store.Webhook, error) {
	v, err := s.log.fresh(ctx)
	if err != nil {
		return r.Webhook, err
	}
	_, until, first := v.bounds(s.log)
	found, err := s.log.find(ctx, store.WebhookSubject(r.ID), r.Version, position{page: max(first, pageOf(r.After))}, until)
	if err != nil || found.cursor == 0 {
		return r.Webhook, err
	}
	moved := &webhookRecord{Webhook: r.Webhook, stamp: s.stamps.next(r.stamp)}
	moved.After = found.cursor
	i, err := s.webhookItem(moved)
	if err != nil {
		return r.Webhook, err
	}
	_, _, err = s.put(ctx, TableWebhooks, i, "stamp = :before", item{":before": text(string(r.stamp))})
	return moved.Webhook, err
}

// Webhook returns one webhook.
func (s *Store) Webhook(ctx context.Context, id string) (store.Webhook, error) {
	r, err := s.webhook(ctx, id)
	if err != nil {
		return store.Webhook{}, wrap(err, "reading webhook %s", id)
	}
	return r.Webhook, nil
}

// Webhooks lists all, by ID.
func (s *Store) Webhooks(ctx context.Context) ([]store.Webhook, error) {
	all, err := s.allWebhooks(ctx)
	return all, wrap(err, "reading webhooks")
}

func (s *Store) allWebhooks(ctx context.Context) ([]store.Webhook, error) {
	names, err := s.all(ctx, query{table: TableState, pk: pkWebhooks})
	if err != nil {
		return nil, err
	}
	keys := make([]item, len(names))
	for n, i := range names {
		keys[n] = webhookKey(textOf(i, attrSK))
	}
	items, err := s.getAll(ctx, TableWebhooks, keys)
	if err != nil {
		return nil, err
	}
	all := make([]store.Webhook, len(items))
	for n, i := range items {
		r, err := webhookOf(i)
		if err != nil {
			return nil, err
		}
		all[n] = r.Webhook
	}
	slices.SortFunc(all, func(a, b store.Webhook) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// ChangeWebhook replaces a webhook, if it still has the version before.
func (s *Store) ChangeWebhook(ctx context.Context, webhook store.Webhook, eventType string) (store.Webhook, error) {
	for range commitTries {
		before, err := s.webhook(ctx, webhook.ID)
		if err == nil && before.Version != webhook.Version-1 {
			err = fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, before.Version, webhook.Version-1)
		}
		if err != nil {
			return store.Webhook{}, wrap(err, "changing webhook %s", webhook.ID)
		}
		webhook.FailingSince = before.FailingSince
		if eventType == store.EventWebhookResumed {
			webhook.FailingSince = time.Time{}
		}
		changed, err := s.writeWebhook(ctx, before, webhook, eventType, webhook.UpdatedAt)
		// What failed or did not makes no version: the change goes on.
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		return changed, wrap(err, "changing webhook %s", webhook.ID)
	}
	return store.Webhook{}, fmt.Errorf("changing webhook %s: %w: it changes all the time", webhook.ID, store.ErrUnavailable)
}

// DeleteWebhook removes a webhook that has this version.
func (s *Store) DeleteWebhook(ctx context.Context, id string, version int64, now time.Time) error {
	before, err := s.webhook(ctx, id)
	if err == nil && before.Version != version {
		err = fmt.Errorf("%w: it is at version %d, not %d", store.ErrConflict, before.Version, version)
	}
	if err != nil {
		return wrap(err, "deleting webhook %s", id)
	}
	before.Version++
	more, err := s.webhookActions(&before.Webhook, s.stamps.next(before.stamp), store.EventWebhookDeleted, now)
	if err != nil {
		return wrap(err, "deleting webhook %s", id)
	}
	actions := append([]types.TransactWriteItem{
		s.deleteAction(TableWebhooks, webhookKey(id), "stamp = :before", item{":before": text(string(before.stamp))}),
		s.deleteAction(TableState, at(pkWebhooks, id), "", nil),
		s.putAction(TableState, at(pkGone, id), "", nil),
	}, more...)
	err = s.transactOne(ctx, unit{actions: actions, refused: func(_ int, found item) error {
		if found == nil {
			return store.ErrNotFound
		}
		return store.ErrConflict
	}})
	return wrap(err, "deleting webhook %s", id)
}

// SetFailing records since when tries fail.
func (s *Store) SetFailing(ctx context.Context, id string, since time.Time) error {
	for range commitTries {
		before, err := s.webhook(ctx, id)
		if err != nil {
			return wrap(err, "recording since when webhook %s fails", id)
		}
		after := &webhookRecord{Webhook: before.Webhook, stamp: s.stamps.next(before.stamp)}
		after.FailingSince = since
		i, err := s.webhookItem(after)
		if err != nil {
			return err
		}
		found, ok, err := s.put(ctx, TableWebhooks, i, "stamp = :before", item{":before": text(string(before.stamp))})
		if err != nil || ok || textOf(found, attrStamp) == string(after.stamp) {
			return wrap(err, "recording since when webhook %s fails", id)
		}
	}
	return fmt.Errorf("recording since when webhook %s fails: %w: it changes all the time", id, store.ErrUnavailable)
}
