package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type webhooksTestOptions struct {
	*Program
	output  format
	id      string
	timeout time.Duration
}

func newWebhooksTest(p *Program, run func(context.Context, *webhooksTestOptions) error) *cobra.Command {
	opts := &webhooksTestOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "test ID",
		Short: "Send a test event to a webhook, and say what came of it",
		Long: `Test makes an event of type webhook.test for one webhook, whatever its types are,
and waits for the first try to end. The exit code is 1 if the receiver did not take
it; it is tried again like any other.`,
		Example:           "  gco webhooks test ID",
		Args:              one("ID"),
		ValidArgsFunction: once(p.webhookIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().DurationVar(&opts.timeout, "timeout", time.Minute, "wait for this `DURATION` at most")
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksTest(ctx context.Context, opts *webhooksTestOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	test, err := c.TestWebhook(ctx, opts.id)
	if err != nil {
		return fmt.Errorf("testing webhook %s: %w", opts.id, err)
	}
	d, err := opts.awaitTry(ctx, c, test.EventID)
	if err != nil {
		return fmt.Errorf("waiting for what came of %s: %w", test.EventID, err)
	}
	err = printOne(opts.Program, opts.output, d, d.ID, func() error {
		_, err := fmt.Fprintln(opts.Out, lastTry(d))
		return err
	})
	if err == nil && d.State != "done" {
		return fmt.Errorf("the receiver did not take the test: %s", lastTry(d))
	}
	return err
}

// tryPoll is how often a test looks for its outcome.
const tryPoll = 200 * time.Millisecond

// awaitTry waits for the first try of an event.
func (o *webhooksTestOptions) awaitTry(ctx context.Context, c *client.Client, event string) (api.Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	ticker := o.Clock.NewTicker(tryPoll)
	defer ticker.Stop()
	for {
		list, err := c.Deliveries(ctx, o.id, client.DeliveryFilter{Subject: "webhook/" + o.id})
		if err != nil {
			return api.Delivery{}, err
		}
		for _, d := range list.Items {
			if d.EventID == event && len(d.Tries) > 0 {
				return d, nil
			}
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return api.Delivery{}, fmt.Errorf("no try ended in %s", o.timeout)
		}
	}
}
