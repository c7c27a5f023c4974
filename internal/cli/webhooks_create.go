package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
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
	done := []api.Webhook{}
	var failures []error
	for _, id := range opts.ids {
		w, err := opts.verb.do(c, ctx, id)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s of webhook %s: %w", opts.verb.use, id, err))
			continue
		}
		done = append(done, w)
	}
	if len(done) > 0 || opts.output != "" {
		if err := printList(opts.Program, opts.output, webhookView(opts.Program), done, api.WebhookList{Items: done}); err != nil {
			return err
		}
	}
	return errors.Join(failures...)
}
