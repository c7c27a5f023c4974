package daemon

import (
	"context"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/server"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/webhook"
)

// newOutbox makes what delivers events to webhooks, as the event stream shows
// them.
func (c *ControlPlane) newOutbox(ctx context.Context, o ControlPlaneOptions) (*webhook.Outbox, error) {
	incarnation, err := c.store.Incarnation(ctx)
	if err != nil {
		return nil, err
	}
	return webhook.New(webhook.Options{
		Store: c.store, Clock: o.Clock, Log: o.Log,
		Encode:   func(e store.Event) ([]byte, error) { return server.EncodeEvent(e, incarnation) },
		Leading:  func() bool { return c.queue.Leading() },
		Watch:    func() (<-chan struct{}, func()) { return c.queue.Watch() },
		Settings: webhookSettings(o.Config.Webhooks),
	}), nil
}

func webhookSettings(w config.Webhooks) webhook.Settings {
	return webhook.Settings{
		Networks: w.Networks(), Limit: w.Limit, Timeout: w.Timeout, Retries: w.Retries,
		Concurrency: w.Concurrency, PerWebhook: w.PerWebhook, PerHost: w.PerHost,
		PauseAfter: w.PauseAfter, PauseBacklog: w.PauseBacklog, KeepDeliveries: w.KeepDeliveries,
	}
}
