package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newWebhooks(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "webhooks",
		Aliases: []string{"webhook"},
		Short:   "Have events sent to an address",
		Long: `A webhook is an address that is told of events: each is sent to it, signed, at
least once, and those of one job in their order. See docs/webhooks.md for what is
sent, how to verify it, and when it is tried again.`,
		Example: "  gco webhooks create https://example.com/gco --type 'job.*' --namespace builds\n  gco webhooks deliveries ID --state dead",
	}
	cmd.AddCommand(
		newWebhooksList(p, runWebhooksList),
		newWebhooksGet(p, runWebhooksGet),
		newWebhooksCreate(p, runWebhooksCreate),
		newWebhooksUpdate(p, runWebhooksUpdate),
		newWebhooksRotate(p, runWebhooksRotate),
		newWebhooksDelete(p, runWebhooksDelete),
		newWebhooksTest(p, runWebhooksTest),
		newWebhooksDeliveries(p, runWebhooksDeliveries),
		newWebhooksRedeliver(p, runWebhooksRedeliver),
	)
	for _, verb := range webhookVerbs {
		cmd.AddCommand(newWebhooksVerb(p, verb, runWebhooksVerb))
	}
	return cmd
}

// webhookView is how webhooks look in a list.
func webhookView(p *Program) view[api.Webhook] {
	return view[api.Webhook]{
		name: func(w api.Webhook) string { return w.ID },
		columns: []column[api.Webhook]{
			{header: "ID", cell: func(w api.Webhook) string { return w.ID }},
			{header: "STATE", cell: stateOfWebhook},
			{header: "NAMESPACE", cell: func(w api.Webhook) string { return w.Namespace }, shown: func(w api.Webhook) string { return orAll(w.Namespace) }},
			{header: "TYPES", cell: typesOfWebhook, shown: func(w api.Webhook) string { return orAll(typesOfWebhook(w)) }},
			{header: "OPEN", cell: func(w api.Webhook) string { return strconv.FormatInt(w.OpenDeliveries, 10) }},
			{header: "URL", cell: func(w api.Webhook) string { return w.URL }, wide: true},
			{
				header: "CREATED",
				cell:   func(w api.Webhook) string { return stamp(&w.CreatedAt) },
				shown:  func(w api.Webhook) string { return age(p.Clock, w.CreatedAt) + " ago" },
			},
		},
	}
}

func typesOfWebhook(w api.Webhook) string { return strings.Join(w.Types, ",") }

func orAll(text string) string {
	if text == "" {
		return "all"
	}
	return text
}

// stateOfWebhook says why it is paused, too.
func stateOfWebhook(w api.Webhook) string {
	if w.PauseReason == "" || w.PauseReason == "user" {
		return w.State
	}
	return w.State + " (" + w.PauseReason + ")"
}

// webhookIDs completes IDs of webhooks.
func (p *Program) webhookIDs() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Webhooks(ctx, "")
		var ids []string
		for _, w := range list.Items {
			ids = append(ids, cobra.CompletionWithDesc(w.ID, w.State+", "+w.URL))
		}
		return ids, err
	})
}

// webhookTypes are offered where a type of events is typed.
var webhookTypes = []string{"job.*", "job.succeeded", "job.failed", "job.cancelled", "job.running", "region.*", "region.lost", "webhook.*", "webhook.paused"}

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
