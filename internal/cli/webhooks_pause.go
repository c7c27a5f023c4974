package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// webhookVerb switches webhooks off or on.
type webhookVerb struct {
	use, short, long string
	do               func(*client.Client, context.Context, string) (api.Webhook, error)
}

var webhookVerbs = []webhookVerb{
	{
		use: "pause", short: "Send nothing to webhooks for now", do: (*client.Client).PauseWebhook,
		long: "Pause keeps deliveries back. Open ones wait; what happens from now on is not\nrecorded for the webhook, and gco webhooks redeliver --since makes up for it.",
	},
	{
		use: "resume", short: "Go on sending to webhooks", do: (*client.Client).ResumeWebhook,
		long: "Resume goes on with the deliveries that are open, and with what happens from now\non. gco webhooks redeliver --since makes up for what happened meanwhile.",
	},
}

type webhooksVerbOptions struct {
	*Program
	output format
	verb   webhookVerb
	ids    []string
}

func newWebhooksVerb(p *Program, verb webhookVerb, run func(context.Context, *webhooksVerbOptions) error) *cobra.Command {
	opts := &webhooksVerbOptions{Program: p, verb: verb}
	cmd := &cobra.Command{
		Use:               verb.use + " ID...",
		Short:             verb.short,
		Long:              verb.long,
		Example:           "  gco webhooks " + verb.use + " ID",
		Args:              some("ID"),
		ValidArgsFunction: p.webhookIDs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksVerb(ctx context.Context, opts *webhooksVerbOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	done, failed := onEach(opts.ids, opts.verb.use+" of webhook", func(id string) (api.Webhook, error) { return opts.verb.do(c, ctx, id) })
	if len(done) > 0 || opts.output != "" {
		if err := printList(opts.Program, opts.output, webhookView(opts.Program), done, api.WebhookList{Items: done}); err != nil {
			return err
		}
	}
	return failed
}
