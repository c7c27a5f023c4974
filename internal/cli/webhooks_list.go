package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type webhooksListOptions struct {
	*Program
	output    format
	namespace string
}

func newWebhooksList(p *Program, run func(context.Context, *webhooksListOptions) error) *cobra.Command {
	opts := &webhooksListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List webhooks",
		Example: "  gco webhooks list\n  gco webhooks list --namespace builds",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	cmd.Flags().StringVarP(&opts.namespace, "namespace", "n", "", "only those of this `NAMESPACE`")
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksList(ctx context.Context, opts *webhooksListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list, err := c.Webhooks(ctx, opts.namespace)
	if err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	return printList(opts.Program, opts.output, webhookView(opts.Program), list.Items, list)
}
