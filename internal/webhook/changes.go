package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// Request is what a user wants of a webhook. In Update, nil fields stay as
// they are.
type Request struct {
	URL         *string
	Description *string
	Namespace   string
	Types       *[]string
	// Secret is the user's own, as text; empty has one made.
	Secret string
	// By is who asks.
	By string
}

const (
	maxDescription = 1000
	maxTypes       = 50
)

// validate adds what is wrong with the request.
func (o *Outbox) validate(r Request) []job.Fault {
	var faults []job.Fault
	add := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
		}
	}
	if r.Description != nil {
		add(len(*r.Description) <= maxDescription, "description", "has %d bytes; at most %d are allowed", len(*r.Description), maxDescription)
	}
	add(r.Namespace == "" || job.ValidRegionName(r.Namespace), "namespace", "%q is not a DNS label", r.Namespace)
	if r.Secret != "" {
		_, err := parseSecret(r.Secret)
		add(err == nil, "secret", "%v", err)
	}
	if r.Types != nil {
		add(len(*r.Types) <= maxTypes, "types", "%d types; at most %d are allowed", len(*r.Types), maxTypes)
		for i, text := range *r.Types {
			add(validType(text), fmt.Sprintf("types[%d]", i), "%q is neither a type such as job.failed nor a pattern such as job.* or *.failed", text)
		}
	}
	if r.URL != nil {
		err := o.guard.checkURL(*r.URL)
		add(err == nil, "url", "%v", err)
	}
	return faults
}

// validType tells whether a text is an event's type, or a pattern of types.
func validType(text string) bool {
	const most = 100
	plain := strings.Replace(text, "*", "", 1)
	other := func(r rune) bool { return r != '.' && r != '-' && (r < 'a' || r > 'z') }
	return text != "" && len(text) <= most && strings.IndexFunc(plain, other) < 0
}

// Create makes a webhook, and returns its secret, which can be seen this once.
// The errors are *job.Invalid with every fault, and store.ErrTooMany.
func (o *Outbox) Create(ctx context.Context, r Request) (store.Webhook, string, error) {
	if faults := o.validate(r); len(faults) > 0 {
		return store.Webhook{}, "", &job.Invalid{Faults: faults}
	}
	key, err := keyOf(r.Secret)
	if err != nil {
		return store.Webhook{}, "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return store.Webhook{}, "", fmt.Errorf("making an ID: %w", err)
	}
	now := o.Clock.Now().UTC()
	w := store.Webhook{
		ID: id.String(), Namespace: r.Namespace, Secrets: []store.WebhookSecret{{Key: key}},
		CreatedAt: now, CreatedBy: r.By, UpdatedAt: now,
	}
	r.into(&w)
	w, err = o.Store.CreateWebhook(ctx, w, o.Settings.Limit)
	if err != nil {
		return store.Webhook{}, "", err
	}
	o.deliverer.changed(w)
	o.dispatcher.wake()
	o.Log.Info("webhook created", "webhook", w.ID, "namespace", w.Namespace, "by", r.By)
	return w, secretText(key), nil
}

func keyOf(secret string) ([]byte, error) {
	if secret == "" {
		return newKey(), nil
	}
	return parseSecret(secret)
}

// into sets what the request names.
func (r Request) into(w *store.Webhook) {
	if r.URL != nil {
		w.URL = *r.URL
	}
	if r.Description != nil {
		w.Description = *r.Description
	}
	if r.Types != nil {
		w.Types = slices.Clone(*r.Types)
	}
}

// changeTries is how often a change is tried that others come in between of.
const changeTries = 10

// change reads a webhook, lets alter change it, and writes it back with its
// event. alter may be called more than once; when it returns false, nothing is
// written.
func (o *Outbox) change(ctx context.Context, id, eventType, by string, alter func(w *store.Webhook, now time.Time) bool) (store.Webhook, error) {
	for try := 1; ; try++ {
		w, err := o.Store.Webhook(ctx, id)
		if err != nil {
			return store.Webhook{}, err
		}
		now := o.Clock.Now().UTC()
		if !alter(&w, now) {
			return w, nil
		}
		w.Version++
		w.UpdatedAt = now
		changed, err := o.Store.ChangeWebhook(ctx, w, eventType)
		if errors.Is(err, store.ErrConflict) && try < changeTries {
			continue
		}
		if err != nil {
			return store.Webhook{}, err
		}
		o.deliverer.changed(changed)
		o.dispatcher.wake()
		o.Log.Info("webhook changed", "webhook", id, "event", eventType, "reason", changed.PauseReason, "by", by)
		return changed, nil
	}
}

// Update changes where a webhook's events go, and which. The errors are
// *job.Invalid and store.ErrNotFound.
func (o *Outbox) Update(ctx context.Context, id string, r Request) (store.Webhook, error) {
	if faults := o.validate(r); len(faults) > 0 {
		return store.Webhook{}, &job.Invalid{Faults: faults}
	}
	return o.change(ctx, id, store.EventWebhookUpdated, r.By, func(w *store.Webhook, _ time.Time) bool {
		r.into(w)
		return true
	})
}

// Rotate makes a new secret, and returns it, which can be seen this once. For
// overlap the one before signs, too; older ones are dropped.
func (o *Outbox) Rotate(ctx context.Context, id string, overlap time.Duration, r Request) (store.Webhook, string, error) {
	if faults := o.validate(r); len(faults) > 0 {
		return store.Webhook{}, "", &job.Invalid{Faults: faults}
	}
	key, err := keyOf(r.Secret)
	if err != nil {
		return store.Webhook{}, "", err
	}
	w, err := o.change(ctx, id, store.EventWebhookRotated, r.By, func(w *store.Webhook, now time.Time) bool {
		secrets := []store.WebhookSecret{{Key: key}}
		if overlap > 0 && len(w.Secrets) > 0 {
			before := w.Secrets[0]
			before.ExpiresAt = now.Add(overlap)
			secrets = append(secrets, before)
		}
		w.Secrets = secrets
		return true
	})
	return w, secretText(key), err
}

// Pause stops deliveries. Open ones wait; what happens from now on is not
// recorded for the webhook. It does nothing to one that is paused.
func (o *Outbox) Pause(ctx context.Context, id, by string) (store.Webhook, error) {
	return o.pauseBy(ctx, id, by, PausedByUser, "")
}

// pause is Pause without anybody's asking.
func (o *Outbox) pause(ctx context.Context, id, reason, message string) error {
	_, err := o.pauseBy(ctx, id, "", reason, message)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (o *Outbox) pauseBy(ctx context.Context, id, by, reason, message string) (store.Webhook, error) {
	return o.change(ctx, id, store.EventWebhookPaused, by, func(w *store.Webhook, now time.Time) bool {
		if w.Paused() {
			return false
		}
		w.PausedAt, w.PauseReason, w.PauseMessage = now, reason, message
		return true
	})
}

// Resume goes on with deliveries. It does nothing to one that is not paused.
func (o *Outbox) Resume(ctx context.Context, id, by string) (store.Webhook, error) {
	o.deliverer.health.reset(id)
	return o.change(ctx, id, store.EventWebhookResumed, by, func(w *store.Webhook, _ time.Time) bool {
		if !w.Paused() {
			return false
		}
		w.PausedAt, w.PauseReason, w.PauseMessage = time.Time{}, "", ""
		return true
	})
}

// ErrPaused says that a webhook is paused: it gets nothing, not even a test.
var ErrPaused = errors.New("the webhook is paused")

// Test makes an event for this webhook alone, and returns its ID.
func (o *Outbox) Test(ctx context.Context, id, by string) (event string, err error) {
	paused := false
	w, err := o.change(ctx, id, store.EventWebhookTest, by, func(w *store.Webhook, _ time.Time) bool {
		paused = w.Paused()
		return !paused
	})
	if err == nil && paused {
		err = ErrPaused
	}
	return fmt.Sprintf("%s/%d", store.WebhookSubject(id), w.Version), err
}

// Delete removes a webhook with its deliveries.
func (o *Outbox) Delete(ctx context.Context, id, by string) error {
	for try := 1; ; try++ {
		w, err := o.Store.Webhook(ctx, id)
		if err != nil {
			return err
		}
		err = o.Store.DeleteWebhook(ctx, id, w.Version, o.Clock.Now().UTC())
		if errors.Is(err, store.ErrConflict) && try < changeTries {
			continue
		}
		if err == nil {
			o.Log.Info("webhook deleted", "webhook", id, "by", by)
		}
		return err
	}
}
