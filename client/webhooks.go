package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gco-project/gco/api"
)

// Webhooks lists the webhooks that the token may use, by ID; all of them, or
// those of one namespace.
func (c *Client) Webhooks(ctx context.Context, namespace string) (api.WebhookList, error) {
	query := url.Values{}
	set(query, "namespace", namespace)
	var list api.WebhookList
	err := c.get(ctx, root+"/webhooks", query, &list)
	return list, err
}

// Webhook returns one webhook by its ID.
func (c *Client) Webhook(ctx context.Context, id string) (api.Webhook, error) {
	var webhook api.Webhook
	err := c.get(ctx, webhookPath(id), nil, &webhook)
	return webhook, err
}

// CreateWebhook makes a webhook. Its secret is in the answer and nowhere else.
func (c *Client) CreateWebhook(ctx context.Context, webhook api.NewWebhook) (api.CreatedWebhook, error) {
	var created api.CreatedWebhook
	err := c.post(ctx, root+"/webhooks", webhook, &created)
	return created, err
}

// UpdateWebhook changes what update names.
func (c *Client) UpdateWebhook(ctx context.Context, id string, update api.WebhookUpdate) (api.Webhook, error) {
	what, err := jsonCall(webhookPath(id), update)
	if err != nil {
		return api.Webhook{}, err
	}
	// Once or twice, it comes to the same.
	what.method, what.repeat = http.MethodPatch, true
	var webhook api.Webhook
	_, err = c.do(ctx, what, &webhook)
	return webhook, err
}

// DeleteWebhook removes a webhook with its deliveries.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: webhookPath(id)}, nil)
	return err
}

// RotateWebhook makes a new secret, which is in the answer and nowhere else.
func (c *Client) RotateWebhook(ctx context.Context, id string, rotation api.Rotation) (api.CreatedWebhook, error) {
	var rotated api.CreatedWebhook
	err := c.post(ctx, webhookPath(id)+"/rotate", rotation, &rotated)
	return rotated, err
}

// PauseWebhook stops the deliveries of a webhook.
func (c *Client) PauseWebhook(ctx context.Context, id string) (api.Webhook, error) {
	return c.switchWebhook(ctx, id, "pause")
}

// ResumeWebhook goes on with the deliveries of a webhook.
func (c *Client) ResumeWebhook(ctx context.Context, id string) (api.Webhook, error) {
	return c.switchWebhook(ctx, id, "resume")
}

func (c *Client) switchWebhook(ctx context.Context, id, verb string) (api.Webhook, error) {
	var webhook api.Webhook
	_, err := c.do(ctx, call{method: http.MethodPost, path: webhookPath(id) + "/" + verb, repeat: true}, &webhook)
	return webhook, err
}

// TestWebhook makes an event for one webhook alone.
func (c *Client) TestWebhook(ctx context.Context, id string) (api.WebhookTest, error) {
	var test api.WebhookTest
	err := c.post(ctx, webhookPath(id)+"/test", nil, &test)
	return test, err
}

// DeliveryFilter selects deliveries of a webhook. Zero fields do not filter.
type DeliveryFilter struct {
	// State is open, done or dead.
	State   string
	Subject string
	// Limit is the size of a page, 1 to 1000; 0 is the server's default.
	Limit int
	// Cursor is the NextCursor of the page before.
	Cursor string
}

// Deliveries returns one page of a webhook's deliveries, newest first. A page
// may be short, or empty, and still have a NextCursor.
func (c *Client) Deliveries(ctx context.Context, webhook string, filter DeliveryFilter) (api.DeliveryList, error) {
	query := url.Values{}
	set(query, "state", filter.State)
	set(query, "subject", filter.Subject)
	set(query, "cursor", filter.Cursor)
	if filter.Limit != 0 {
		query.Set("limit", strconv.Itoa(filter.Limit))
	}
	var list api.DeliveryList
	err := c.get(ctx, webhookPath(webhook)+"/deliveries", query, &list)
	return list, err
}

// Delivery returns one delivery with what is sent.
func (c *Client) Delivery(ctx context.Context, webhook, id string) (api.Delivery, error) {
	var delivery api.Delivery
	err := c.get(ctx, webhookPath(webhook)+"/deliveries/"+url.PathEscape(id), nil, &delivery)
	return delivery, err
}

// Redeliver makes deliveries again. It goes through a range to its end, and
// returns how many they were, also with an error.
func (c *Client) Redeliver(ctx context.Context, webhook string, request api.Redelivery) (int, error) {
	count := 0
	for {
		var answer api.Redelivered
		if err := c.post(ctx, webhookPath(webhook)+"/redeliver", request, &answer); err != nil {
			return count, err
		}
		count += answer.Count
		if answer.NextCursor == "" {
			return count, nil
		}
		request.Cursor = answer.NextCursor
	}
}

func webhookPath(id string) string { return root + "/webhooks/" + url.PathEscape(id) }
