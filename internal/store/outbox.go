package store

import (
	"context"
	"errors"
	"slices"
	"time"
)

// The errors of the outbox and of webhooks that callers decide on.
var (
	// ErrUndispatched: an event that would go with the record has yet to pass
	// the outbox; a later try may succeed.
	ErrUndispatched = errors.New("an event of it is still to be handed to webhooks")
	// ErrTooMany: there are as many webhooks as there may be.
	ErrTooMany = errors.New("there are as many as there may be")
)

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states of a delivery.
const (
	// DeliveryOpen: it is to be tried, or tried again. Dispatch and Redeliver
	// make it so.
	DeliveryOpen DeliveryState = "open"
	// DeliveryDone: the receiver took it.
	DeliveryDone DeliveryState = "done"
	// DeliveryDead: it was given up; Reason says why.
	DeliveryDead DeliveryState = "dead"
)

// Delivery is the way of one event to one webhook. (Webhook, Cursor) is
// unique.
type Delivery struct {
	Webhook string `json:"webhook"`
	// Cursor, EventID, Type, Subject and At are the event's.
	Cursor  int64     `json:"cursor"`
	EventID string    `json:"eventId"`
	Type    string    `json:"type"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`

	State DeliveryState `json:"state"`
	// DueAt is when an open delivery may be tried, or the end of the claim on
	// it.
	DueAt time.Time `json:"dueAt,omitzero"`
	// Claim names the claim that holds it; empty for none.
	Claim string `json:"claim,omitempty"`
	// OpenedAt is when it was made, or opened again; SettledAt when it was
	// done or given up, and Reason why.
	OpenedAt  time.Time `json:"openedAt"`
	SettledAt time.Time `json:"settledAt,omitzero"`
	Reason    string    `json:"reason,omitempty"`
	// Attempts counts the tries since OpenedAt; Tries are the last ones of
	// all, at most MaxTries, oldest first.
	Attempts int   `json:"attempts"`
	Tries    []Try `json:"tries,omitempty"`

	// Body is what is sent, the same at every try.
	Body []byte `json:"-"`
}

// MaxTries is how many tries a delivery remembers.
const MaxTries = 20

// Try is one attempt to deliver.
type Try struct {
	At time.Time `json:"at"`
	// Took is until the answer was read, or the try was given up.
	Took time.Duration `json:"took"`
	// Status is that of the answer; 0 if there was none, and Error says why.
	Status int    `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	// Answer is the beginning of the answer's body. Of older tries it is
	// dropped.
	Answer string `json:"answer,omitempty"`
}

// DeliveryClaim asks for deliveries to make.
type DeliveryClaim struct {
	// Room is how many deliveries to claim, by webhook.
	Room map[string]int
	// Name goes into Delivery.Claim; Settle must name it.
	Name string
	// Now is held against DueAt; Until is when the claim ends.
	Now, Until time.Time
}

// Settlement is what became of a claimed delivery.
type Settlement struct {
	Webhook string
	Cursor  int64
	// Claim is the name of the claim that holds it.
	Claim string
	// State is DeliveryOpen for a delivery that is to be tried again at DueAt.
	State  DeliveryState
	DueAt  time.Time
	Reason string
	// Try is what was tried; nil gives the claim back without a try.
	Try *Try
	Now time.Time
}

// Settle notes on a delivery what became of it.
func (d *Delivery) Settle(s *Settlement) {
	d.State, d.DueAt, d.Reason, d.Claim = s.State, s.DueAt, s.Reason, ""
	if s.State != DeliveryOpen {
		d.DueAt, d.SettledAt = time.Time{}, s.Now
	}
	if s.Try == nil {
		return
	}
	d.Attempts++
	tries := append(slices.Clone(d.Tries), *s.Try)
	for i := range tries[:len(tries)-1] {
		tries[i].Answer = ""
	}
	d.Tries = tries[max(0, len(tries)-MaxTries):]
}

// Reopen makes a settled delivery one that is to be made.
func (d *Delivery) Reopen(at time.Time) {
	d.State, d.DueAt, d.OpenedAt = DeliveryOpen, at, at
	d.SettledAt, d.Reason, d.Attempts, d.Claim = time.Time{}, "", 0, ""
}

// DeliveryQuery selects deliveries of one webhook. Zero fields do not filter.
// Order is newest first.
type DeliveryQuery struct {
	Webhook string
	State   DeliveryState
	Subject string
	// Before continues a list after the last cursor of the page before.
	Before int64
	Limit  int
}

// DeliveryPage is one page of a list, as Page is.
type DeliveryPage struct {
	Deliveries []Delivery
	Next       int64
	More       bool
}

// Backlog counts the open deliveries of one webhook.
type Backlog struct {
	Webhook string
	Open    int64
}

// Outbox holds the deliveries that are to be made, for package webhook, and
// what became of them, for the server.
//
// The open deliveries of one webhook and one subject form a lane, in the order
// of their cursors. Only the first of a lane can be claimed, so that a
// receiver sees the events of a job in their order; settling it as done or
// dead frees the next.
//
// While a webhook exists that is not paused, Jobs.Delete does not take away
// events after the cursor: it leaves the job alone with ErrUndispatched, or
// keeps its events until Dispatch has passed them. Events up to the least
// After of those webhooks don't count.
type Outbox interface {
	// OutboxCursor is the cursor up to which events have been dispatched.
	OutboxCursor(ctx context.Context) (int64, error)
	// Dispatch adds open deliveries, due at OpenedAt, and moves the cursor
	// from one place to a later one, or leaves it there. They come in the order
	// of their cursors, and none is before one that was dispatched earlier. It
	// leaves out deliveries that exist, and those of webhooks that do not. The
	// outcome is that of one write: calling it again after an error or a crash
	// loses nothing and repeats nothing. ErrConflict: the cursor is elsewhere.
	Dispatch(ctx context.Context, from, to int64, deliveries []Delivery) error
	// Redeliver adds those deliveries that do not exist, and opens again those
	// that do and are in one of the states; it returns how many that were.
	// They are due at their OpenedAt. One without a Body is not added.
	Redeliver(ctx context.Context, deliveries []Delivery, states []DeliveryState) (int, error)
	// ClaimDeliveries claims due deliveries that are the first of their lane,
	// and returns them with their bodies, at most the webhook's room of each
	// and 1,000 in all. Each is claimed once, until its claim ends.
	ClaimDeliveries(ctx context.Context, claim DeliveryClaim) ([]Delivery, error)
	// SettleDeliveries settles each delivery by itself. The slice has an error
	// per settlement: nil, ErrConflict when another claim holds it, or
	// ErrNotFound.
	SettleDeliveries(ctx context.Context, settlements []Settlement) ([]error, error)
	// Delivery returns one with its body; Deliveries lists them without.
	Delivery(ctx context.Context, webhook string, cursor int64) (Delivery, error)
	Deliveries(ctx context.Context, query DeliveryQuery) (DeliveryPage, error)
	// Backlogs reads counters that the writes keep, by webhook; those without
	// open deliveries may be missing.
	Backlogs(ctx context.Context) ([]Backlog, error)
	// PruneDeliveries removes deliveries that were settled before the time,
	// and those of webhooks that are gone, in all at most limit.
	PruneDeliveries(ctx context.Context, before time.Time, limit int) (int, error)
}
