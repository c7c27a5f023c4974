package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newWebhooks(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "webhooks",
		Aliases: []string{"webhook"},
		Short:   "Have events sent to an address",
		Long: `A webhook is an address that is told of events: each is sent to it, signed, at
least once, and those of one job in their order. See docs/webhooks.md for what is
sent, how to verify it, and when it is tried again.`,
		Example: "  gco webhooks create https://example.com/gco --type 'job.*' --namespace builds\n  gco webhooks deliveries ID --state dead",
	}
	cmd.AddCommand(
		newWebhooksList(p, runWebhooksList),
		newWebhooksGet(p, runWebhooksGet),
		newWebhooksCreate(p, runWebhooksCreate),
		newWebhooksUpdate(p, runWebhooksUpdate),
		newWebhooksRotate(p, runWebhooksRotate),
		newWebhooksDelete(p, runWebhooksDelete),
		newWebhooksTest(p, runWebhooksTest),
		newWebhooksDeliveries(p, runWebhooksDeliveries),
		newWebhooksRedeliver(p, runWebhooksRedeliver),
	)
	for _, verb := range webhookVerbs {
		cmd.AddCommand(newWebhooksVerb(p, verb, runWebhooksVerb))
	}
	return cmd
}

// webhookView is how webhooks look in a list.
func webhookView(p *Program) view[api.Webhook] {
	return view[api.Webhook]{
		name: func(w api.Webhook) string { return w.ID },
		columns: []column[api.Webhook]{
			{header: "ID", cell: func(w api.Webhook) string { return w.ID }},
			{header: "STATE", cell: stateOfWebhook},
			{header: "NAMESPACE", cell: func(w api.Webhook) string { return w.Namespace }, shown: func(w api.Webhook) string { return orAll(w.Namespace) }},
			{header: "TYPES", cell: typesOfWebhook, shown: func(w api.Webhook) string { return orAll(typesOfWebhook(w)) }},
			{header: "OPEN", cell: func(w api.Webhook) string { return strconv.FormatInt(w.OpenDeliveries, 10) }},
			{header: "URL", cell: func(w api.Webhook) string { return w.URL }, wide: true},
			{
				header: "CREATED",
				cell:   func(w api.Webhook) string { return stamp(&w.CreatedAt) },
				shown:  func(w api.Webhook) string { return age(p.Clock, w.CreatedAt) + " ago" },
			},
		},
	}
}

func typesOfWebhook(w api.Webhook) string { return strings.Join(w.Types, ",") }

func orAll(text string) string {
	if text == "" {
		return "all"
	}
	return text
}

// stateOfWebhook says why it is paused, too.
func stateOfWebhook(w api.Webhook) string {
	if w.PauseReason == "" || w.PauseReason == "user" {
		return w.State
	}
	return w.State + " (" + w.PauseReason + ")"
}

// webhookIDs completes IDs of webhooks.
func (p *Program) webhookIDs() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Webhooks(ctx, "")
		var ids []string
		for _, w := range list.Items {
			ids = append(ids, cobra.CompletionWithDesc(w.ID, w.State+", "+w.URL))
		}
		return ids, err
	})
}

// webhookTypes are offered where a type of events is typed.
var webhookTypes = []string{
	"job.*", "job.succeeded", "job.failed", "job.cancelled", "job.running", "region.*", "region.lost",
	"pipeline.*", "pipeline.failed", "schedule.*", "schedule.refused", "webhook.*", "webhook.paused",
}
