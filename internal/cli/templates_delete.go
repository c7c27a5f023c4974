package cli

import (
	"context"

	"github.com/spf13/cobra"
)

type templatesDeleteOptions struct {
	*Program
	names []string
}

func newTemplatesDelete(p *Program, run func(context.Context, *templatesDeleteOptions) error) *cobra.Command {
	opts := &templatesDeleteOptions{Program: p}
	return &cobra.Command{
		Use:     "delete NAME...",
		Aliases: []string{"rm"},
		Short:   "End templates",
		Long: `Delete ends templates: nothing more can be submitted from them. Their versions
can still be read, and the jobs that came from them stay what they are.`,
		Example:           "  gco templates delete sweep\n  gco templates versions sweep",
		Args:              some("NAME"),
		ValidArgsFunction: p.templateNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.names = args
			return run(cmd.Context(), opts)
		},
	}
}

func runTemplatesDelete(ctx context.Context, opts *templatesDeleteOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	return removeEach(opts.Out, opts.names, "deleting template", func(name string) error { return c.DeleteTemplate(ctx, name, "") })
}
