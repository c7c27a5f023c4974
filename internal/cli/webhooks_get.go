package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type webhooksGetOptions struct {
	*Program
	output format
	id     string
}

func newWebhooksGet(p *Program, run func(context.Context, *webhooksGetOptions) error) *cobra.Command {
	opts := &webhooksGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:               "get ID",
		Short:             "Show one webhook",
		Example:           "  gco webhooks get ID",
		Args:              one("ID"),
		ValidArgsFunction: once(p.webhookIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksGet(ctx context.Context, opts *webhooksGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	w, err := c.Webhook(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("looking at webhook %s: %w", opts.id, err)
	}
	return printOne(opts.Program, opts.output, w, w.ID, func() error { return opts.webhookPage(w) })
}

func (p *Program) webhookPage(w api.Webhook) error {
	return p.fields([]field{
		{"Webhook", w.ID},
		{"Description", w.Description},
		{"URL", w.URL},
		{"Namespace", orAll(w.Namespace)},
		{"Types", orAll(typesOfWebhook(w))},
		{"State", stateOfWebhook(w)},
		{"Because", w.PauseMessage},
		{"Paused", p.when(w.PausedAt)},
		{"Failing since", p.when(w.FailingSince)},
		{"Open deliveries", strconv.FormatInt(w.OpenDeliveries, 10)},
		{"Old secret ends", p.when(w.RotatedUntil)},
		{"Created", p.when(&w.CreatedAt)},
		{"Created by", w.CreatedBy},
		{"Changed", p.when(&w.UpdatedAt)},
	})
}
