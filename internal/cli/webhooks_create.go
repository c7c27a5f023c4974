package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type webhooksCreateOptions struct {
	*Program
	output  format
	webhook api.NewWebhook
}

func newWebhooksCreate(p *Program, run func(context.Context, *webhooksCreateOptions) error) *cobra.Command {
	opts := &webhooksCreateOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "create URL",
		Short: "Make a webhook, and print its secret once",
		Long: `Create makes a webhook. The secret that signs its deliveries is printed on
standard output, alone, and can't be shown again.

The address must be public and begin with https://, unless the server's
webhooks.allowNetworks names its network; gco up allows this machine's own.`,
		Example: `  gco webhooks create https://example.com/gco --type job.failed --type job.succeeded > webhook.secret
  gco webhooks create http://127.0.0.1:8080/ --namespace builds --description "the build board"`,
		Args:              one("URL"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.webhook.URL = args[0]
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&opts.webhook.Types, "type", nil, "only events of this `TYPE`, such as job.failed or job.*; may be repeated (default all)")
	flags.StringVarP(&opts.webhook.Namespace, "namespace", "n", "", "only events of this `NAMESPACE` (default all, and those of regions)")
	flags.StringVar(&opts.webhook.Description, "description", "", "a `TEXT` for people")
	completeWith(cmd, "type", cobra.FixedCompletions(webhookTypes, cobra.ShellCompDirectiveNoFileComp))
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksCreate(ctx context.Context, opts *webhooksCreateOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	created, err := c.CreateWebhook(ctx, opts.webhook)
	if err != nil {
		return fmt.Errorf("creating a webhook: %w", err)
	}
	return printOne(opts.Program, opts.output, created, created.ID, func() error { return opts.showSecret("made", created) })
}

// showSecret writes the secret to where a program reads it, and all else to
// the person.
func (p *Program) showSecret(done string, w api.CreatedWebhook) error {
	fmt.Fprintf(p.Err, "Webhook %s is %s. This is its secret, and it is shown only now:\n", w.ID, done)
	_, err := fmt.Fprintln(p.Out, w.Secret)
	return err
}
