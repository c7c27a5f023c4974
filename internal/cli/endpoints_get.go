package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type endpointsGetOptions struct {
	*Program
	output format
	name   string
	watch  bool
}

func newEndpointsGet(p *Program, run func(context.Context, *endpointsGetOptions) error) *cobra.Command {
	opts := &endpointsGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show an endpoint, replica by replica",
		Long: `Get shows what is wanted of an endpoint and what each region has of it. With
--watch it shows that again whenever it changes.`,
		Example:           "  gco endpoints get echo\n  gco endpoints get echo --watch\n  gco endpoints get echo -o yaml",
		Args:              one("NAME"),
		ValidArgsFunction: once(p.endpointNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name = args[0]
			return run(cmd.Context(), opts)
		},
	}
	addWatch(cmd, &opts.watch)
	addOutput(cmd, &opts.output)
	return cmd
}

func runEndpointsGet(ctx context.Context, opts *endpointsGetOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.again(ctx, opts.watch, func(p *Program) error {
		e, err := c.Endpoint(ctx, opts.name)
		if err != nil {
			return fmt.Errorf("looking at endpoint %s: %w", opts.name, err)
		}
		return printOne(p, opts.output, e, e.Name, func() error { return p.endpointPage(e) })
	})
}

func (p *Program) endpointPage(e api.Endpoint) error {
	err := p.fields([]field{
		{"Endpoint", e.Name},
		{"State", e.State},
		{"Message", e.Message},
		{"Image", e.Spec.Image},
		{"Model", e.Spec.Model},
		{"Revision", revisionOf(e)},
		{"Ready", fmt.Sprintf("%d of %d", e.Ready, e.Replicas)},
		{"Created", p.when(&e.CreatedAt) + by(e.CreatedBy)},
		{"Updated", p.when(&e.UpdatedAt) + by(e.UpdatedBy)},
		{"Why", e.Reason},
	})
	if err != nil || len(e.Regions) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(p.Out); err != nil {
		return err
	}
	if err := p.table(endpointRegionView.rows(e.Regions, p.Terminal)); err != nil {
		return err
	}
	var copies []regionCopy
	for _, r := range e.Regions {
		for _, one := range r.Copies {
			copies = append(copies, regionCopy{r.Region, one})
		}
	}
	if len(copies) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(p.Out); err != nil {
		return err
	}
	return p.table(endpointCopyView(p).rows(copies, p.Terminal))
}

var endpointRegionView = view[api.EndpointRegion]{columns: []column[api.EndpointRegion]{
	{header: "REGION", cell: func(r api.EndpointRegion) string { return r.Region }},
	{header: "READY", cell: func(r api.EndpointRegion) string { return fmt.Sprintf("%d/%d", r.Ready, r.Replicas) }},
	{header: "MESSAGE", cell: func(r api.EndpointRegion) string {
		if r.Silent {
			return "its agent is silent; this is what it said last"
		}
		return r.Message
	}, wide: true},
}}

// regionCopy is one replica with its region.
type regionCopy struct {
	region string
	api.EndpointReplica
}

func endpointCopyView(p *Program) view[regionCopy] {
	return view[regionCopy]{columns: []column[regionCopy]{
		{header: "REPLICA", cell: func(c regionCopy) string { return c.ID }},
		{header: "REGION", cell: func(c regionCopy) string { return c.region }},
		{header: "REVISION", cell: func(c regionCopy) string { return fmt.Sprint(c.Revision) }},
		{header: "PHASE", cell: func(c regionCopy) string { return c.Phase }},
		{
			header: "SINCE",
			cell:   func(c regionCopy) string { return stamp(&c.Since) },
			shown:  func(c regionCopy) string { return age(p.Clock, c.Since) },
		},
		{header: "RESTARTS", cell: func(c regionCopy) string { return fmt.Sprint(c.Restarts) }},
		{header: "ADDRESS", cell: func(c regionCopy) string { return c.Address }},
		{header: "MESSAGE", cell: func(c regionCopy) string { return c.Message }, wide: true},
	}}
}
