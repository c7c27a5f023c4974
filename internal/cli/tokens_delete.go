package cli

import (
	"context"

	"github.com/spf13/cobra"
)

type tokensDeleteOptions struct {
	*Program
	ids []string
}

func newTokensDelete(p *Program, run func(context.Context, *tokensDeleteOptions) error) *cobra.Command {
	opts := &tokensDeleteOptions{Program: p}
	return &cobra.Command{
		Use:               "delete ID...",
		Aliases:           []string{"rm"},
		Short:             "End tokens",
		Long:              "Delete ends tokens by their ID. Further servers may take one for a few seconds\nmore.",
		Example:           "  gco tokens list\n  gco tokens delete ID",
		Args:              some("ID"),
		ValidArgsFunction: p.tokenIDs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.ids = args
			return run(cmd.Context(), opts)
		},
	}
}

func runTokensDelete(ctx context.Context, opts *tokensDeleteOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return removeEach(opts.Out, opts.ids, "deleting token", func(id string) error { return c.DeleteToken(ctx, id) })
}
