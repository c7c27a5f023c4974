package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type webhooksRotateOptions struct {
	*Program
	output  format
	id      string
	overlap time.Duration
}

func newWebhooksRotate(p *Program, run func(context.Context, *webhooksRotateOptions) error) *cobra.Command {
	opts := &webhooksRotateOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Make a new secret, and print it once",
		Long: `Rotate makes a new secret for a webhook, and prints it as create does. For the
overlap, deliveries are signed with the old one, too, so that the receiver can
change over in its own time.`,
		Example:           "  gco webhooks rotate ID > webhook.secret\n  gco webhooks rotate ID --overlap 0s",
		Args:              one("ID"),
		ValidArgsFunction: once(p.webhookIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	const day = 24 * time.Hour
	cmd.Flags().DurationVar(&opts.overlap, "overlap", day, "how long the old secret signs, too; a `DURATION` up to 720h")
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksRotate(ctx context.Context, opts *webhooksRotateOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	rotated, err := c.RotateWebhook(ctx, opts.id, api.Rotation{Overlap: opts.overlap.String()})
	if err != nil {
		return fmt.Errorf("rotating the secret of webhook %s: %w", opts.id, err)
	}
	return printOne(opts.Program, opts.output, rotated, rotated.ID, func() error { return opts.showSecret("rotated", rotated) })
}
