package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/webhook"
)

// Webhooks is what the server needs of a *webhook.Outbox.
type Webhooks interface {
	Create(ctx context.Context, request webhook.Request) (store.Webhook, string, error)
	Update(ctx context.Context, id string, request webhook.Request) (store.Webhook, error)
	Rotate(ctx context.Context, id string, overlap time.Duration, request webhook.Request) (store.Webhook, string, error)
	Pause(ctx context.Context, id, by string) (store.Webhook, error)
	Resume(ctx context.Context, id, by string) (store.Webhook, error)
	Test(ctx context.Context, id, by string) (event string, err error)
	Delete(ctx context.Context, id, by string) error
	Redeliver(ctx context.Context, id string, request webhook.RedeliverRequest) (count int, next int64, err error)
	// Collector has the metrics of the deliveries.
	Collector() prometheus.Collector
}

var _ Webhooks = (*webhook.Outbox)(nil)

var (
	newWebhookShape    = shapeOf[api.NewWebhook]()
	webhookUpdateShape = shapeOf[api.WebhookUpdate]()
	rotationShape      = shapeOf[api.Rotation]()
	redeliveryShape    = shapeOf[api.Redelivery]()
)

const (
	// defaultOverlap and maxOverlap are how long a rotated secret signs.
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
	// maxRedelivered bounds the deliveries that one call names.
	maxRedelivered = 100
)

func webhookOnWire(w store.Webhook, open int64) api.Webhook {
	out := api.Webhook{
		ID: w.ID, Version: w.Version, URL: w.URL, Description: w.Description, Namespace: w.Namespace,
		Types: append([]string{}, w.Types...), State: "active", OpenDeliveries: open,
		PauseReason: w.PauseReason, PauseMessage: w.PauseMessage,
		PausedAt: timeOnWire(w.PausedAt), FailingSince: timeOnWire(w.FailingSince),
		CreatedAt: w.CreatedAt.UTC(), CreatedBy: w.CreatedBy, UpdatedAt: w.UpdatedAt.UTC(),
	}
	switch {
	case w.Paused():
		out.State = "paused"
	case !w.FailingSince.IsZero():
		out.State = "failing"
	}
	if len(w.Secrets) > 1 {
		out.RotatedUntil = timeOnWire(w.Secrets[1].ExpiresAt)
	}
	return out
}

func deliveryOnWire(d store.Delivery) api.Delivery {
	out := api.Delivery{
		ID: strconv.FormatInt(d.Cursor, 10), Webhook: d.Webhook, EventID: d.EventID, Type: d.Type, Subject: d.Subject, Time: d.At.UTC(),
		State: string(d.State), DueAt: timeOnWire(d.DueAt), OpenedAt: d.OpenedAt.UTC(), SettledAt: timeOnWire(d.SettledAt),
		Reason: d.Reason, Attempts: d.Attempts, Tries: []api.DeliveryTry{}, Payload: d.Body,
	}
	for _, t := range d.Tries {
		out.Tries = append(out.Tries, api.DeliveryTry{At: t.At.UTC(), Seconds: t.Took.Seconds(), Status: t.Status, Error: t.Error, Answer: t.Answer})
	}
	return out
}

// backlogs are the open deliveries by webhook.
func (c *call) backlogs() (map[string]int64, error) {
	all, err := c.store.Backlogs(c.r.Context())
	if err != nil {
		return nil, fmt.Errorf("counting deliveries: %w", err)
	}
	open := map[string]int64{}
	for _, b := range all {
		open[b.Webhook] = b.Open
	}
	return open, nil
}

// mayUse tells whether the caller may see and change a webhook: one without a
// namespace gets every event, and so is for tokens without a limit.
func (c *call) mayUse(namespace string) bool {
	return len(c.who.namespaces) == 0 || (namespace != "" && c.who.sees(namespace))
}

// webhook reads the webhook in the path, if the caller may use it.
func (c *call) webhook() (store.Webhook, error) {
	id := c.r.PathValue("id")
	w, err := c.store.Webhook(c.r.Context(), id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && !c.mayUse(w.Namespace)) {
		return store.Webhook{}, newProblem(api.ProblemNotFound, "there is no webhook %q, or it is not for this token", shorten([]byte(id)))
	}
	return w, err
}

// answerWebhook shows a webhook as it is now.
func (c *call) answerWebhook(w store.Webhook) error {
	open, err := c.backlogs()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, webhookOnWire(w, open[w.ID]))
}

func (c *call) listWebhooks() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	namespace := q.text("namespace")
	if err := q.err(); err != nil {
		return err
	}
	all, err := c.store.Webhooks(c.r.Context())
	if err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	open, err := c.backlogs()
	if err != nil {
		return err
	}
	list := api.WebhookList{Items: []api.Webhook{}}
	for _, w := range all {
		if c.mayUse(w.Namespace) && (namespace == "" || namespace == w.Namespace) {
			list.Items = append(list.Items, webhookOnWire(w, open[w.ID]))
		}
	}
	return c.json(http.StatusOK, list)
}

func (c *call) createWebhook() error {
	var request api.NewWebhook
	if err := c.readJSON(newWebhookShape, &request); err != nil {
		return err
	}
	if !c.mayUse(request.Namespace) {
		return newProblem(api.ProblemForbidden, "this token is for the namespaces %v; name one of them", c.who.namespaces)
	}
	w, secret, err := c.webhooks.Create(c.r.Context(), webhook.Request{
		URL: &request.URL, Description: &request.Description, Namespace: request.Namespace, Types: &request.Types,
		Secret: request.Secret, By: c.who.name,
	})
	if errors.Is(err, store.ErrTooMany) {
		return newProblem(api.ProblemLimited, "there are as many webhooks as there may be; delete one, or ask an administrator for more").with("Retry-After", "60")
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", "/api/v1/webhooks/"+w.ID)
	return c.json(http.StatusCreated, api.CreatedWebhook{Webhook: webhookOnWire(w, 0), Secret: secret})
}

func (c *call) showWebhook() error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	return c.answerWebhook(w)
}

func (c *call) updateWebhook() error {
	var request api.WebhookUpdate
	if err := c.readJSON(webhookUpdateShape, &request); err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	w, err = c.webhooks.Update(c.r.Context(), w.ID, webhook.Request{
		URL: request.URL, Description: request.Description, Types: request.Types, By: c.who.name,
	})
	if err != nil {
		return err
	}
	return c.answerWebhook(w)
}

func (c *call) deleteWebhook() error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	if err := c.webhooks.Delete(c.r.Context(), w.ID, c.who.name); err != nil {
		return err
	}
	return c.nothing()
}

func (c *call) rotateWebhook() error {
	var request api.Rotation
	if err := c.readJSON(rotationShape, &request); err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	overlap := defaultOverlap
	if request.Overlap != "" {
		overlap, err = time.ParseDuration(request.Overlap)
		if err != nil || overlap < 0 || overlap > maxOverlap {
			return invalid([]job.Fault{{Field: "overlap", Message: fmt.Sprintf("%q is not a duration from 0s to %s", shorten([]byte(request.Overlap)), maxOverlap)}})
		}
	}
	w, secret, err := c.webhooks.Rotate(c.r.Context(), w.ID, overlap, webhook.Request{Secret: request.Secret, By: c.who.name})
	if err != nil {
		return err
	}
	open, err := c.backlogs()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, api.CreatedWebhook{Webhook: webhookOnWire(w, open[w.ID]), Secret: secret})
}

func (c *call) pauseWebhook() error  { return c.switchWebhook(c.webhooks.Pause) }
func (c *call) resumeWebhook() error { return c.switchWebhook(c.webhooks.Resume) }

func (c *call) switchWebhook(do func(ctx context.Context, id, by string) (store.Webhook, error)) error {
	if err := c.noBody(); err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	if w, err = do(c.r.Context(), w.ID, c.who.name); err != nil {
		return err
	}
	return c.answerWebhook(w)
}

func (c *call) testWebhook() error {
	if err := c.noBody(); err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	event, err := c.webhooks.Test(c.r.Context(), w.ID, c.who.name)
	if errors.Is(err, webhook.ErrPaused) {
		return newProblem(api.ProblemNotPossible, "the webhook is paused, and gets nothing; resume it first")
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, api.WebhookTest{EventID: event})
}

func (c *call) listDeliveries() error {
	q, err := c.query()
	if err != nil {
		return err
	}
	query := store.DeliveryQuery{
		Subject: q.text("subject"),
		State:   store.DeliveryState(q.choice("state", "", string(store.DeliveryOpen), string(store.DeliveryDone), string(store.DeliveryDead))),
		Limit:   q.whole("limit", defaultLimit, 1, maxLimit),
	}
	if err := q.err(); err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	query.Webhook = w.ID
	if text := q.text("cursor"); text != "" {
		if query.Before, err = readDeliveryCursor(w.ID, text); err != nil {
			return err
		}
	}
	page, err := c.store.Deliveries(c.r.Context(), query)
	if err != nil {
		return err
	}
	list := api.DeliveryList{Items: []api.Delivery{}}
	for _, d := range page.Deliveries {
		list.Items = append(list.Items, deliveryOnWire(d))
	}
	if page.More {
		list.NextCursor = writeCursor(w.ID, strconv.FormatInt(page.Next, 10))
	}
	return c.json(http.StatusOK, list)
}

// readDeliveryCursor reads a cursor of the deliveries of one webhook.
func readDeliveryCursor(webhook, text string) (int64, error) {
	mark, position, ok := readCursor(text)
	at, err := strconv.ParseInt(position, 10, 64)
	if !ok || err != nil || at <= 0 || mark != webhook {
		return 0, newProblem(api.ProblemBadCursor, "the cursor is not from the deliveries of this webhook; start without one")
	}
	return at, nil
}

func (c *call) showDelivery() error {
	w, err := c.webhook()
	if err != nil {
		return err
	}
	id := c.r.PathValue("delivery")
	cursor, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return newProblem(api.ProblemNotFound, "there is no delivery %q", shorten([]byte(id)))
	}
	d, err := c.store.Delivery(c.r.Context(), w.ID, cursor)
	if errors.Is(err, store.ErrNotFound) {
		return newProblem(api.ProblemNotFound, "there is no delivery %s; they are kept for a while", id)
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, deliveryOnWire(d))
}

func (c *call) redeliver() error {
	var body api.Redelivery
	if err := c.readJSON(redeliveryShape, &body); err != nil {
		return err
	}
	w, err := c.webhook()
	if err != nil {
		return err
	}
	request, err := c.redelivery(body)
	if err != nil {
		return err
	}
	if body.Cursor != "" {
		if request.After, err = readDeliveryCursor(w.ID, body.Cursor); err != nil {
			return err
		}
	}
	count, next, err := c.webhooks.Redeliver(c.r.Context(), w.ID, request)
	if err != nil {
		return err
	}
	answer := api.Redelivered{Count: count}
	if next > 0 {
		answer.NextCursor = writeCursor(w.ID, strconv.FormatInt(next, 10))
	}
	return c.json(http.StatusOK, answer)
}

// redelivery checks which deliveries are meant: some by name, or a range.
func (c *call) redelivery(body api.Redelivery) (webhook.RedeliverRequest, error) {
	q := &query{values: map[string][]string{}}
	if body.Since != "" {
		q.values.Set("since", body.Since)
	}
	request := webhook.RedeliverRequest{All: body.All, Since: q.moment("since", c.clock.Now())}
	if body.Until != nil {
		request.Until = *body.Until
	}
	ranged := body.Since != "" || body.Until != nil || body.All || body.Cursor != ""
	switch {
	case len(body.Deliveries) > 0 && ranged:
		q.fault("deliveries", "says which; since, until, all and cursor are for a range")
	case len(body.Deliveries) == 0 && body.Since == "":
		q.fault("since", "is needed where no deliveries are named")
	case len(body.Deliveries) > maxRedelivered:
		q.fault("deliveries", "has %d IDs; at most %d are allowed", len(body.Deliveries), maxRedelivered)
	}
	for i, id := range body.Deliveries[:min(len(body.Deliveries), maxRedelivered)] {
		cursor, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			q.fault(fmt.Sprintf("deliveries[%d]", i), "%q is no ID of a delivery", shorten([]byte(id)))
		}
		request.Cursors = append(request.Cursors, cursor)
	}
	return request, q.err()
}
