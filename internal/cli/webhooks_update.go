package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type webhooksUpdateOptions struct {
	*Program
	output           format
	id               string
	update           api.WebhookUpdate
	url, description string
	types            []string
}

func newWebhooksUpdate(p *Program, run func(context.Context, *webhooksUpdateOptions) error) *cobra.Command {
	opts := &webhooksUpdateOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "update ID",
		Short:             "Change where a webhook's events go, and which",
		Long:              "Update changes what its flags name. Open deliveries go to the new address; the\ntypes count for events from now on.",
		Example:           "  gco webhooks update ID --url https://example.com/new\n  gco webhooks update ID --type 'job.*' --type region.lost",
		Args:              one("ID"),
		ValidArgsFunction: once(p.webhookIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			flags := cmd.Flags()
			if flags.Changed("url") {
				opts.update.URL = &opts.url
			}
			if flags.Changed("description") {
				opts.update.Description = &opts.description
			}
			if flags.Changed("type") {
				opts.update.Types = &opts.types
			}
			if opts.update == (api.WebhookUpdate{}) {
				return usagef(cmd, "nothing to change: give --url, --type or --description")
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.url, "url", "", "send to this `URL`")
	flags.StringSliceVar(&opts.types, "type", nil, "only events of this `TYPE`; may be repeated, and replaces those there were")
	flags.StringVar(&opts.description, "description", "", "a `TEXT` for people")
	completeWith(cmd, "type", cobra.FixedCompletions(webhookTypes, cobra.ShellCompDirectiveNoFileComp))
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksUpdate(ctx context.Context, opts *webhooksUpdateOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	w, err := c.UpdateWebhook(ctx, opts.id, opts.update)
	if err != nil {
		return fmt.Errorf("changing webhook %s: %w", opts.id, err)
	}
	return printOne(opts.Program, opts.output, w, w.ID, func() error { return opts.webhookPage(w) })
}
