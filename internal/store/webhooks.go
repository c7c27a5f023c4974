package store

import (
	"context"
	"time"
)

// Webhook is a subscription: an address that is told of events, which ones,
// and the secrets that sign what it is told.
type Webhook struct {
	// ID is a UUID of version 7.
	ID string `json:"id"`
	// Version grows by one with every change, and is the number of the event
	// that tells of it.
	Version     int64  `json:"version"`
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	// Namespace is the one whose events it gets; empty is every event, those
	// of regions included.
	Namespace string `json:"namespace,omitempty"`
	// Types are exact, or have one "*" that stands for any text; none is every
	// type.
	Types []string `json:"types,omitempty"`
	// Secrets sign, the newest first. Whoever can read the store can read
	// them: a hash could not sign.
	Secrets []WebhookSecret `json:"secrets"`
	// After is the cursor from which on it gets events: the newest event when
	// it was created, and when it was last resumed.
	After int64 `json:"after"`

	// PausedAt is zero while deliveries are made, and PauseReason a short code:
	// "user", or why it was done without one.
	PausedAt     time.Time `json:"pausedAt,omitzero"`
	PauseReason  string    `json:"pauseReason,omitempty"`
	PauseMessage string    `json:"pauseMessage,omitempty"`
	// FailingSince is when the first try failed after the last one that
	// succeeded; zero while they succeed. It is an observation: setting it is
	// no change.
	FailingSince time.Time `json:"failingSince,omitzero"`

	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy,omitempty"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Paused tells whether deliveries to it wait.
func (w *Webhook) Paused() bool { return !w.PausedAt.IsZero() }

// WebhookSecret is one secret that signs deliveries.
type WebhookSecret struct {
	Key []byte `json:"key"`
	// ExpiresAt is when a rotation ends the older one; zero is never.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// The types of a webhook's events. EventWebhookTest is an event for its own
// webhook and no other, whatever that asks for.
const (
	EventWebhookCreated = "webhook.created"
	EventWebhookUpdated = "webhook.updated"
	EventWebhookRotated = "webhook.rotated"
	EventWebhookPaused  = "webhook.paused"
	EventWebhookResumed = "webhook.resumed"
	EventWebhookTest    = "webhook.test"
	EventWebhookDeleted = "webhook.deleted"
)

// WebhookEvent is the data of a webhook's event. It has no address: that may
// hold a credential.
type WebhookEvent struct {
	Webhook string `json:"webhook"`
	Version int64  `json:"version"`
	// Reason and Message say why it was paused.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// WebhookSubject is the Subject of a webhook's events.
func WebhookSubject(id string) string { return "webhook/" + id }

// Webhooks is the record of every webhook, for the server and the loops of
// package webhook. They are few, and listed whole.
type Webhooks interface {
	// CreateWebhook keeps a new webhook as version 1, sets After to the newest
	// event and writes webhook.created. ErrConflict: the ID is taken.
	// ErrTooMany: there are limit webhooks or more; drivers may count a little
	// late.
	CreateWebhook(ctx context.Context, webhook Webhook, limit int) (Webhook, error)
	Webhook(ctx context.Context, id string) (Webhook, error)
	// Webhooks lists all, by ID; it is as current as Webhook is: one that was
	// made or resumed before the call is on it.
	Webhooks(ctx context.Context) ([]Webhook, error)
	// ChangeWebhook replaces a webhook, but for its FailingSince, if
	// webhook.Version-1 is stored, else ErrConflict or ErrNotFound, and writes
	// an event of the given type at webhook.UpdatedAt, in one write. With
	// webhook.resumed it sets After to the newest event and clears
	// FailingSince.
	ChangeWebhook(ctx context.Context, webhook Webhook, eventType string) (Webhook, error)
	// DeleteWebhook removes a webhook that has this version, else ErrConflict
	// or ErrNotFound, and writes webhook.deleted as the next one. Its
	// deliveries are never claimed again; PruneDeliveries removes them.
	DeleteWebhook(ctx context.Context, id string, version int64, now time.Time) error
	// SetFailing records since when tries fail; zero says that the last one
	// succeeded. It makes no version and no event.
	SetFailing(ctx context.Context, id string, since time.Time) error
}
