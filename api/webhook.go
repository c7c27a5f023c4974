package api

import (
	"encoding/json"
	"time"
)

// Webhook is an address that is told of events, without its secret.
type Webhook struct {
	ID          string `json:"id"`
	Version     int64  `json:"version"`
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	// Namespace is the one whose events it gets; absent, it gets every event,
	// those of regions included.
	Namespace string `json:"namespace,omitempty"`
	// Types are exact, such as job.failed, or have one *, such as job.* and
	// *.failed; none is every type.
	Types []string `json:"types"`
	// State is failing when the last tries have all failed.
	State string `json:"state" enum:"active,failing,paused"`
	// PauseReason is user, or why it was paused without one: failing, gone
	// (the receiver answered 410), backlog.
	PauseReason  string     `json:"pauseReason,omitempty" enum:"user,failing,gone,backlog"`
	PauseMessage string     `json:"pauseMessage,omitempty"`
	PausedAt     *time.Time `json:"pausedAt,omitempty"`
	FailingSince *time.Time `json:"failingSince,omitempty"`
	// OpenDeliveries waits to be made.
	OpenDeliveries int64 `json:"openDeliveries"`
	// RotatedUntil is when the secret before the last rotation stops signing.
	RotatedUntil *time.Time `json:"rotatedUntil,omitempty"`
	CreatedAt    time.Time  `json:"createdAt"`
	CreatedBy    string     `json:"createdBy,omitempty"`
	UpdatedAt    time.Time  `json:"updatedAt"`
}

// NewWebhook asks for a webhook.
type NewWebhook struct {
	URL         string `json:"url"`
	Description string `json:"description,omitempty"`
	// Namespace is the one whose events it gets; absent, it gets every event.
	Namespace string `json:"namespace,omitempty"`
	// Types are exact, or have one *; absent, it gets every type.
	Types []string `json:"types,omitempty"`
	// Secret is whsec_ and base64 of 24 to 64 bytes; absent, one is made.
	Secret string `json:"secret,omitempty"`
}

// WebhookUpdate changes what it names, and nothing else.
type WebhookUpdate struct {
	URL         *string   `json:"url,omitempty"`
	Description *string   `json:"description,omitempty"`
	Types       *[]string `json:"types,omitempty"`
}

// Rotation asks for a new secret.
type Rotation struct {
	// Overlap is a duration for which the secret before signs, too: 24h if
	// absent, at most 720h; 0s ends it at once.
	Overlap string `json:"overlap,omitempty"`
	// Secret is as in NewWebhook.
	Secret string `json:"secret,omitempty"`
}

// CreatedWebhook shows the secret, once.
type CreatedWebhook struct {
	Webhook
	Secret string `json:"secret"`
}

// WebhookList has every webhook that the token may see, by ID.
type WebhookList struct {
	Items []Webhook `json:"items"`
}

// WebhookTest names the event that was made for a webhook alone.
type WebhookTest struct {
	EventID string `json:"eventId"`
}

// Delivery is the way of one event to one webhook.
type Delivery struct {
	ID      string `json:"id"`
	Webhook string `json:"webhook"`
	// EventID is what a receiver sees as webhook-id, and as the ID of the
	// event.
	EventID string    `json:"eventId"`
	Type    string    `json:"type"`
	Subject string    `json:"subject"`
	Time    time.Time `json:"time"`
	// State: open is to be tried, or tried again; dead was given up.
	State string `json:"state" enum:"open,done,dead"`
	// DueAt is when an open delivery is tried next, if those of the same
	// subject before it are settled.
	DueAt     *time.Time `json:"dueAt,omitempty"`
	OpenedAt  time.Time  `json:"openedAt"`
	SettledAt *time.Time `json:"settledAt,omitempty"`
	// Reason is why it was given up.
	Reason string `json:"reason,omitempty"`
	// Attempts counts the tries since openedAt.
	Attempts int `json:"attempts"`
	// Tries are the last ones, at most 20, oldest first.
	Tries []DeliveryTry `json:"tries"`
	// Payload is what is sent; in the answer for a single delivery only.
	Payload json.RawMessage `json:"payload,omitempty"`
}

// DeliveryTry is one attempt to deliver.
type DeliveryTry struct {
	At time.Time `json:"at"`
	// Seconds is how long it took, to the answer.
	Seconds float64 `json:"seconds"`
	// Status is that of the answer; absent if there was none.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	// Answer is the beginning of the answer's body, up to 4 KiB, of the last
	// try only.
	Answer string `json:"answer,omitempty"`
}

// DeliveryList is one page of deliveries, newest first.
type DeliveryList struct {
	Items []Delivery `json:"items"`
	// NextCursor continues the list; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}

// Redelivery asks for deliveries to be made again: some by their IDs, or those
// of a range of time that are dead or were never begun.
type Redelivery struct {
	// Deliveries are IDs, at most 100.
	Deliveries []string `json:"deliveries,omitempty"`
	// Since is a time, or a duration back from now, and Until is a time; both
	// are of the events. Until is now if absent.
	Since string     `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// All is for those of the range that were done, too.
	All bool `json:"all,omitempty"`
	// Cursor continues a range.
	Cursor string `json:"cursor,omitempty"`
}

// Redelivered counts deliveries that were opened again.
type Redelivered struct {
	Count int `json:"count"`
	// NextCursor continues a range; empty at its end.
	NextCursor string `json:"nextCursor,omitempty"`
}
