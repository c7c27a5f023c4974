package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// deliveryView is how deliveries look in a list.
func deliveryView(p *Program) view[api.Delivery] {
	return view[api.Delivery]{
		name: func(d api.Delivery) string { return d.ID },
		columns: []column[api.Delivery]{
			{header: "ID", cell: func(d api.Delivery) string { return d.ID }},
			{header: "STATE", cell: func(d api.Delivery) string { return d.State }},
			{header: "TYPE", cell: func(d api.Delivery) string { return d.Type }},
			{header: "SUBJECT", cell: func(d api.Delivery) string { return d.Subject }},
			{header: "TRIES", cell: func(d api.Delivery) string { return strconv.Itoa(d.Attempts) }},
			{header: "LAST", cell: lastTry, shown: func(d api.Delivery) string { return dash(lastTry(d)) }, wide: true},
			{
				header: "EVENT",
				cell:   func(d api.Delivery) string { return stamp(&d.Time) },
				shown:  func(d api.Delivery) string { return age(p.Clock, d.Time) + " ago" },
			},
			{
				header: "NEXT",
				cell:   func(d api.Delivery) string { return stamp(d.DueAt) },
				shown:  func(d api.Delivery) string { return dash(p.when(d.DueAt)) },
			},
		},
	}
}

// lastTry says what came of the last try, and how long it took.
func lastTry(d api.Delivery) string {
	if len(d.Tries) == 0 {
		return ""
	}
	return tryText(d.Tries[len(d.Tries)-1])
}

func tryText(t api.DeliveryTry) string {
	took := time.Duration(t.Seconds * float64(time.Second)).Round(time.Millisecond)
	switch {
	case t.Status == 0:
		return fmt.Sprintf("%s (%s)", t.Error, took)
	case t.Error == "":
		return fmt.Sprintf("%d in %s", t.Status, took)
	}
	return fmt.Sprintf("%d in %s: %s", t.Status, took, t.Error)
}

type webhooksDeliveriesOptions struct {
	*Program
	output format
	id     string
	// delivery is the one to show; empty is a list.
	delivery string
	filter   client.DeliveryFilter
}

func newWebhooksDeliveries(p *Program, run func(context.Context, *webhooksDeliveriesOptions) error) *cobra.Command {
	opts := &webhooksDeliveriesOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "deliveries ID [DELIVERY]",
		Short: "List a webhook's deliveries, or show one",
		Long: `Deliveries lists what was sent to a webhook and what is to be sent, newest first:
open is to be tried, or tried again; done was taken; dead was given up. With the ID
of a delivery it shows each try of that one, and what is sent.`,
		Example: "  gco webhooks deliveries ID --state dead\n  gco webhooks deliveries ID 4711",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("ID is missing")
			}
			return unexpected(args[min(len(args), 2):])
		},
		ValidArgsFunction: once(p.webhookIDs()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			if len(args) > 1 {
				opts.delivery = args[1]
			}
			if opts.filter.Limit < 1 || opts.filter.Limit > 1000 {
				return usagef(cmd, "--limit is %d; from 1 to 1000 is possible", opts.filter.Limit)
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.filter.State, "state", "", "only those in this state, `open|done|dead`")
	flags.StringVar(&opts.filter.Subject, "subject", "", "only those about this `SUBJECT`, such as job/ID")
	flags.IntVar(&opts.filter.Limit, "limit", 50, "at most so many, `N` up to 1000")
	flags.StringVar(&opts.filter.Cursor, "cursor", "", "go on from this `CURSOR`, the nextCursor of -o json")
	complete(cmd, "state", "open", "done", "dead")
	addOutput(cmd, &opts.output)
	return cmd
}

func runWebhooksDeliveries(ctx context.Context, opts *webhooksDeliveriesOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	if opts.delivery != "" {
		d, err := c.Delivery(ctx, opts.id, opts.delivery)
		if err != nil {
			return fmt.Errorf("looking at delivery %s: %w", opts.delivery, err)
		}
		return printOne(opts.Program, opts.output, d, d.ID, func() error { return opts.deliveryPage(d) })
	}
	list, err := c.Deliveries(ctx, opts.id, opts.filter)
	if err != nil {
		return fmt.Errorf("listing deliveries: %w", err)
	}
	return printList(opts.Program, opts.output, deliveryView(opts.Program), list.Items, list)
}

func (p *Program) deliveryPage(d api.Delivery) error {
	err := p.fields([]field{
		{"Delivery", d.ID},
		{"Event", d.EventID},
		{"Type", d.Type},
		{"State", d.State},
		{"Because", d.Reason},
		{"Next try", p.when(d.DueAt)},
		{"Settled", p.when(d.SettledAt)},
	})
	if err != nil {
		return err
	}
	if len(d.Tries) > 0 {
		fmt.Fprintln(p.Out, "\nTries:")
		t := table{indent: "  ", rows: [][]string{{"AT", "OUTCOME"}}, wide: 2}
		for _, try := range d.Tries {
			t.rows = append(t.rows, []string{stamp(&try.At), tryText(try)})
		}
		if err := p.table(t); err != nil {
			return err
		}
		if last := d.Tries[len(d.Tries)-1]; last.Answer != "" {
			fmt.Fprintf(p.Out, "\nThe last answer begins:\n  %s\n", plain(last.Answer))
		}
	}
	_, err = fmt.Fprintf(p.Out, "\nWhat is sent:\n  %s\n", plain(string(d.Payload)))
	return err
}
