package cli

import (
	"context"

	"github.com/spf13/cobra"
)

type webhooksDeleteOptions struct {
	*Program
	ids []string
}

func newWebhooksDelete(p *Program, run func(context.Context, *webhooksDeleteOptions) error) *cobra.Command {
	opts := &webhooksDeleteOptions{Program: p}
	return &cobra.Command{
		Use:               "delete ID...",
		Aliases:           []string{"rm"},
		Short:             "Remove webhooks with their deliveries",
		Example:           "  gco webhooks delete ID",
		Args:              some("ID"),
		ValidArgsFunction: p.webhookIDs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
}

func runWebhooksDelete(ctx context.Context, opts *webhooksDeleteOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return removeEach(opts.Out, opts.ids, "deleting webhook", func(id string) error { return c.DeleteWebhook(ctx, id) })
}
