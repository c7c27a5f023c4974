package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type tokensListOptions struct {
	*Program
	output format
}

func newTokensList(p *Program, run func(context.Context, *tokensListOptions) error) *cobra.Command {
	opts := &tokensListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List tokens, without their secrets",
		Example: "  gco tokens list",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runTokensList(ctx context.Context, opts *tokensListOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	list, err := c.Tokens(ctx)
	if err != nil {
		return fmt.Errorf("listing tokens: %w", err)
	}
	return printList(opts.Program, opts.output, tokenView(opts.Program), list.Items, list)
}
