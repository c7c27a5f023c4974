package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type endpointsListOptions struct {
	*Program
	output format
	watch  bool
}

func newEndpointsList(p *Program, run func(context.Context, *endpointsListOptions) error) *cobra.Command {
	opts := &endpointsListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List endpoints by name",
		Example: "  gco endpoints list\n  gco endpoints list --watch\n  gco endpoints list -o name",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addWatch(cmd, &opts.watch)
	addOutput(cmd, &opts.output)
	return cmd
}

func runEndpointsList(ctx context.Context, opts *endpointsListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return opts.again(ctx, opts.watch, func(p *Program) error {
		list := api.EndpointList{Items: []api.Endpoint{}}
		for e, err := range c.AllEndpoints(ctx) {
			if err != nil {
				return fmt.Errorf("listing endpoints: %w", err)
			}
			list.Items = append(list.Items, e)
		}
		return printList(p, opts.output, endpointView(p), list.Items, list)
	})
}
