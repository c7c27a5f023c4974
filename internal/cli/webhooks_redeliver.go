package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type webhooksRedeliverOptions struct {
	*Program
	id      string
	request api.Redelivery
	until   string
}

func newWebhooksRedeliver(p *Program, run func(context.Context, *webhooksRedeliverOptions) error) *cobra.Command {
	opts := &webhooksRedeliverOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "redeliver ID [DELIVERY...]",
		Short: "Send again what a webhook did not get",
		Long: `Redeliver makes deliveries again: those that are named, whatever became of them; or
with --since those that were given up, and events that the webhook was not told of
because it was paused or did not exist, as far as their jobs are still there.
Repeats carry the same webhook-id.`,
		Example:           "  gco webhooks redeliver ID 4711\n  gco webhooks redeliver ID --since 12h\n  gco webhooks redeliver ID --since 2030-01-02T00:00:00Z --until 2030-01-03T00:00:00Z --all",
		Args:              some("ID"),
		ValidArgsFunction: once(p.webhookIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id, opts.request.Deliveries = args[0], args[1:]
			ranged := opts.request.Since != "" || opts.until != "" || opts.request.All
			if len(opts.request.Deliveries) > 0 && ranged {
				return usagef(cmd, "name deliveries, or give a range with --since; not both")
			}
			if len(opts.request.Deliveries) == 0 && opts.request.Since == "" {
				return usagef(cmd, "which ones? Name deliveries, or give a range with --since")
			}
			if opts.until != "" {
				until, err := time.Parse(time.RFC3339, opts.until)
				if err != nil {
					return usagef(cmd, "--until is %q; a time such as 2030-01-02T03:04:05Z is needed", opts.until)
				}
				opts.request.Until = &until
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.request.Since, "since", "", "events since this `TIME`, or this long ago (12h)")
	flags.StringVar(&opts.until, "until", "", "events up to this `TIME` (default now)")
	flags.BoolVar(&opts.request.All, "all", false, "of the range also those that were taken")
	return cmd
}

func runWebhooksRedeliver(ctx context.Context, opts *webhooksRedeliverOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	count, err := c.Redeliver(ctx, opts.id, opts.request)
	fmt.Fprintf(opts.Out, "%d\n", count)
	if err != nil {
		return fmt.Errorf("sending again to webhook %s: %w", opts.id, err)
	}
	fmt.Fprintf(opts.Err, "deliveries are made again: gco webhooks deliveries %s shows how they do\n", opts.id)
	return nil
}
