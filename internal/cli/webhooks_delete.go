package cli

import (
	"context"
	"errors"
	"fmt"

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
	var failures []error
	for _, id := range opts.ids {
		if err := c.DeleteWebhook(ctx, id); err != nil {
			failures = append(failures, fmt.Errorf("deleting webhook %s: %w", id, err))
			continue
		}
		fmt.Fprintf(opts.Out, "%s\n", id)
	}
	return errors.Join(failures...)
}
