package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type regionsListOptions struct {
	*Program
	output format
}

func newRegionsList(p *Program, run func(context.Context, *regionsListOptions) error) *cobra.Command {
	opts := &regionsListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List regions with their lease and what is free",
		Example: "  gco regions list\n  gco regions list -o json",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runRegionsList(ctx context.Context, opts *regionsListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list, err := c.Regions(ctx)
	if err != nil {
		return fmt.Errorf("listing regions: %w", err)
	}
	return printList(opts.Program, opts.output, regionView(opts.Program), list.Items, list)
}
