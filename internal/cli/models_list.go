package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type modelsListOptions struct {
	*Program
	output format
}

func newModelsList(p *Program, run func(context.Context, *modelsListOptions) error) *cobra.Command {
	opts := &modelsListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List models by name",
		Example: "  gco models list\n  gco models list -o name",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsList(ctx context.Context, opts *modelsListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list, err := c.Models(ctx)
	if err != nil {
		return fmt.Errorf("listing models: %w", err)
	}
	return printList(opts.Program, opts.output, modelView(opts.Program), list.Items, list)
}
